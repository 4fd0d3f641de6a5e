//! The broker's image, as people use it: containers of it, and clients that are not ours (kcat,
//! and Python's confluent-kafka), one broker alone and three of them.
//!
//! Without Docker the tests say so and pass; where `REQUIRE_DOCKER=1` they fail. The same holds for
//! the clients and `REQUIRE_CLIENTS=1`; `CLIENTS_PYTHON` names a Python that has confluent-kafka.

mod clients;
mod containers;

use clients::Client;
use containers::{Brokers, docker_works};

/// As many as the batch that the story of this project is about.
const MESSAGES: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_image_explains_itself_and_refuses_what_it_does_not_know() {
    let Some(image) = docker_works().await else {
        return;
    };
    let (status, told) = containers::run_to_end(&image, &["--help"]).await;
    assert_eq!(status, 0, "{told}");
    for word in ["--data-dir", "--min-insync-replicas", "--client-advertised"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    let (status, told) = containers::run_to_end(&image, &["--data-dri=/data"]).await;
    assert_eq!(status, 64, "{told}");
    assert!(told.contains("--data-dir"), "no advice in {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_its_container() {
    let Some(image) = docker_works().await else {
        return;
    };
    let brokers = Brokers::up(&image, 1).await;
    let health = brokers.get(1, "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let Some(kcat) = Client::kcat() else {
        return;
    };
    let topic = "kept";
    brokers.create_topic(topic, 1).await;
    let sent = clients::lines(MESSAGES);
    kcat.produce(&brokers.bootstrap(), topic, &sent).await;
    // SIGTERM, as `docker stop` sends it: a clean end, and the volume stays.
    let brokers = brokers.stopped_and_started().await;
    let read = kcat.consume(&brokers.bootstrap(), topic, MESSAGES).await;
    assert_eq!(clients::sorted(&read), clients::sorted(&sent));
    let metrics = brokers.get(1, "/metrics").await;
    for name in ["log_end_offset", "high_watermark", "fsync"] {
        assert!(metrics.contains(name), "no {name} among the metrics");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_and_python_read_what_the_other_one_wrote_from_three_brokers() {
    let Some(image) = docker_works().await else {
        return;
    };
    let (Some(kcat), Some(python)) = (Client::kcat(), Client::python()) else {
        return;
    };
    let brokers = Brokers::up(&image, 3).await;
    let bootstrap = brokers.bootstrap();
    let listing = kcat.list(&bootstrap).await;
    assert!(listing.contains("3 brokers"), "{listing}");
    for (writer, reader, topic) in [(&kcat, &python, "k2p"), (&python, &kcat, "p2k")] {
        brokers.create_topic(topic, 3).await;
        let sent = clients::lines(MESSAGES);
        writer.produce(&bootstrap, topic, &sent).await;
        let read = reader.consume(&bootstrap, topic, MESSAGES).await;
        assert_eq!(clients::sorted(&read), clients::sorted(&sent), "{topic}");
    }
}
