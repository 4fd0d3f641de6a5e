//! One broker: wires its parts together, starts them in order, stops them in order.
