use super::*;

const PORT: u16 = 9093;
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Whether a portion of this size gets through within a second, and after how long.
async fn crosses(
    links: &Links,
    route: &Route,
    direction: Direction,
    bytes: usize,
) -> Option<Duration> {
    let began = Instant::now();
    let due = links.due(route, direction, bytes);
    let passing = links.pass(route, direction, due, bytes);
    let passed = tokio::time::timeout(ms(1_000), passing).await;
    passed.ok().map(|()| began.elapsed())
}

fn cut(from: End) -> Order {
    Order::Cut {
        from: vec![from],
        spare: Vec::new(),
        only: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_one_way_at_its_receiver_and_for_its_ports() {
    let links = Links::new();
    let there = links.stand(End::Node(ONE), TWO, PORT).unwrap();
    let back = links.stand(End::Node(TWO), ONE, PORT).unwrap();
    // Two no longer hears One: neither who calls it, nor who answers it.
    links.obey(TWO, "f1", cut(End::Node(ONE)));
    let (forward, backward) = (Direction::Forward, Direction::Backward);
    assert_eq!(crosses(&links, &there.route, forward, 9).await, None);
    assert_eq!(crosses(&links, &back.route, backward, 9).await, None);
    let free = Some(Duration::ZERO);
    assert_eq!(crosses(&links, &there.route, backward, 9).await, free);
    assert_eq!(crosses(&links, &back.route, forward, 9).await, free);
    let client = links.stand(End::Clients, TWO, PORT).unwrap();
    assert_eq!(crosses(&links, &client.route, forward, 9).await, free);
    let (rules, held) = links.status(TWO);
    assert_eq!((rules[0].packets, rules[0].bytes, held), (2, 18, 0));
    links.heal(TWO, Some("f2"));
    assert_eq!(crosses(&links, &there.route, forward, 9).await, None);
    links.heal(TWO, Some("f1"));
    assert_eq!(crosses(&links, &there.route, forward, 9).await, free);
    for (spare, only) in [(vec![PORT], Vec::new()), (Vec::new(), vec![PORT + 1])] {
        let from = vec![End::Node(ONE)];
        links.obey(TWO, "f3", Order::Cut { from, spare, only });
        assert_eq!(crosses(&links, &there.route, forward, 9).await, free);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_crosses_at_once_when_the_link_is_healed() {
    let links = Links::new();
    let standing = links.stand(End::Node(ONE), TWO, PORT).unwrap();
    links.obey(TWO, "f1", cut(End::Node(ONE)));
    let began = Instant::now();
    let due = links.due(&standing.route, Direction::Forward, 1);
    let passing = links.pass(&standing.route, Direction::Forward, due, 1);
    let healing = async {
        tokio::time::advance(ms(700)).await;
        assert_eq!(links.status(TWO).1, 1, "it is held");
        links.heal(TWO, None);
    };
    tokio::join!(passing, healing);
    assert_eq!(began.elapsed(), ms(700));
    assert_eq!(links.status(TWO).1, 0);
}

#[tokio::test(start_paused = true)]
async fn delays_are_of_one_port_and_each_direction_has_its_own() {
    let links = Links::new();
    let order = Order::Delay {
        ports: vec![PORT],
        peers: Vec::new(),
        inbound: ms(30),
        outbound: ms(50),
    };
    links.obey(TWO, "f1", order.clone());
    // The same order twice is one.
    links.obey(TWO, "f1", order);
    let hit = links.stand(End::Node(ONE), TWO, PORT).unwrap();
    let other = links.stand(End::Node(ONE), TWO, PORT + 1).unwrap();
    let away = links.stand(End::Node(TWO), ONE, PORT).unwrap();
    let time = async |route, direction| crosses(&links, route, direction, 1).await.unwrap();
    assert_eq!(time(&hit.route, Direction::Forward).await, ms(30));
    assert_eq!(time(&hit.route, Direction::Backward).await, ms(50));
    assert_eq!(time(&other.route, Direction::Forward).await, ms(0));
    assert_eq!(time(&away.route, Direction::Forward).await, ms(0));
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_shared_by_all_connections_of_a_node() {
    let links = Links::new();
    let manner = Manner {
        bytes_per_second: 10_000,
        ..Manner::default()
    };
    let peers = vec![End::Node(ONE), End::Clients];
    let spare = vec![PORT + 1];
    links.obey(
        TWO,
        "f1",
        Order::Impair {
            peers,
            spare,
            manner,
        },
    );
    let one = links.stand(End::Node(ONE), TWO, PORT).unwrap();
    let two = links.stand(End::Clients, TWO, PORT).unwrap();
    let spared = links.stand(End::Clients, TWO, PORT + 1).unwrap();
    let forward = Direction::Forward;
    let both = tokio::join!(
        crosses(&links, &one.route, forward, 2_000),
        crosses(&links, &two.route, forward, 3_000),
        crosses(&links, &spared.route, forward, 9_000),
        crosses(&links, &one.route, Direction::Backward, 1_000),
    );
    let after = |millis| Some(ms(millis));
    assert_eq!(both, (after(200), after(500), after(0), after(100)));
    assert_eq!(links.portion(&one.route, forward), 500);
    assert_eq!(links.portion(&spared.route, forward), PORTION);
}

#[tokio::test(start_paused = true)]
async fn resets_hit_who_stands_and_who_comes_and_strands_only_who_stands() {
    let links = Links::new();
    let peers = vec![End::Node(ONE)];
    let old = links.stand(End::Node(ONE), TWO, PORT).unwrap();
    let routes = links.standing(TWO, &[PORT], &peers);
    assert_eq!(routes, BTreeSet::from([old.route.id]));
    links.obey(TWO, "f1", Order::Strand { routes });
    let new = links.stand(End::Node(ONE), TWO, PORT).unwrap();
    assert_eq!(
        crosses(&links, &old.route, Direction::Forward, 1).await,
        None
    );
    let free = Some(Duration::ZERO);
    assert_eq!(
        crosses(&links, &old.route, Direction::Backward, 1).await,
        free
    );
    assert_eq!(
        crosses(&links, &new.route, Direction::Forward, 1).await,
        free
    );
    links.heal(TWO, None);
    let ports = vec![PORT];
    links.obey(TWO, "f2", Order::Reset { ports, peers });
    old.reset().await;
    new.reset().await;
    assert!(links.stand(End::Node(ONE), TWO, PORT).is_none());
    assert!(links.stand(End::Clients, TWO, PORT).is_some());
    drop((old, new));
    assert_eq!(links.status(TWO).0[0].packets, 3);
    assert!(links.standing(TWO, &[PORT], &[End::Node(ONE)]).is_empty());
}
