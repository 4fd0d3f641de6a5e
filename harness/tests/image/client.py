"""One job of a confluent-kafka client: list, produce (lines of standard input) or consume."""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition


def produce(bootstrap, topic):
    failed = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})

    def told(error, _message):
        if error is not None:
            failed.append(str(error))

    for line in sys.stdin:
        producer.produce(topic, value=line.rstrip("\n"), on_delivery=told)
        producer.poll(0)
    left = producer.flush(30)
    if failed or left:
        sys.exit(f"{left} without an answer, {len(failed)} failed: {failed[:3]}")


def consume(bootstrap, topic, count):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    read, deadline = [], time.monotonic() + 30
    while len(read) < count and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.5):
            if message.error():
                sys.exit(str(message.error()))
            read.append(message.value().decode())
    consumer.close()
    print("\n".join(read))


def main():
    verb, bootstrap, topic, *rest = sys.argv[1:]
    if verb == "produce":
        produce(bootstrap, topic)
    else:
        consume(bootstrap, topic, int(rest[0]))


main()
