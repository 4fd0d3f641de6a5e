//! Containers of the broker's image, by testcontainers, which removes them whatever happens.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::models::PortBinding;
use harness::artifacts::{self, BuildOptions};
use harness::runtime::docker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);
const CLIENT: u16 = 9092;
const ADMIN: u16 = 9095;

/// The name of the image, built if need be; `None`, said aloud, where there is no Docker.
pub async fn docker_works() -> Option<String> {
    if let Err(why) = docker::answers().await {
        let required = std::env::var("REQUIRE_DOCKER").is_ok_and(|value| value == "1");
        assert!(!required, "REQUIRE_DOCKER=1, but {why}");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let build = || {
        let options = BuildOptions { seeded_bugs: false };
        artifacts::build(&artifacts::workspace(), options, &mut |line| {
            eprintln!("{line}")
        })
    };
    let built = tokio::task::block_in_place(build);
    let image = docker::broker_image(&built.expect("it builds")).await;
    Some(image.expect("the image is built"))
}

fn image_of(name: &str) -> GenericImage {
    let (name, tag) = name.split_once(':').expect("a name and a tag");
    GenericImage::new(name, tag)
}

/// Runs the image to the end of its process: exit code, and what it printed.
pub async fn run_to_end(image: &str, arguments: &[&str]) -> (i64, String) {
    let image = image_of(image).with_wait_for(WaitFor::exit(ExitWaitStrategy::new()));
    let started = image.with_cmd(arguments.iter().copied()).start().await;
    let container = started.expect("the container runs");
    let status = container.exit_code().await.expect("it is known");
    let out = container.stdout_to_vec().await.expect("output");
    let err = container.stderr_to_vec().await.expect("errors");
    let told = [out, err].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    (status.expect("it has ended"), told)
}

/// Ports of this machine that reach one broker.
#[derive(Clone, Copy)]
struct Ports {
    client: u16,
    admin: u16,
}

/// Brokers on a network of their own, reached by published ports of the loopback interface.
pub struct Brokers {
    containers: Vec<ContainerAsync<GenericImage>>,
    ports: Vec<Ports>,
    /// Removed with it: the data of every broker.
    data: tempfile::TempDir,
    image: String,
    network: String,
}

impl Brokers {
    /// Starts that many brokers and waits until all of them are healthy.
    pub async fn up(image: &str, count: usize) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        for number in 1..=count {
            let path = data.path().join(number.to_string());
            std::fs::create_dir(&path).expect("a directory");
            open_to_all(&path);
        }
        let ports = (0..count).map(|_| Ports {
            client: free_port(),
            admin: free_port(),
        });
        let mut brokers = Self {
            containers: Vec::new(),
            ports: ports.collect(),
            network: format!("image-test-{}-{}", std::process::id(), free_port()),
            data,
            image: image.to_owned(),
        };
        brokers.start().await;
        brokers
    }

    async fn start(&mut self) {
        let count = self.ports.len();
        let starting = (1..=count).map(|number| self.start_one(number));
        self.containers = futures_util::future::join_all(starting).await;
        let deadline = Instant::now() + PATIENCE;
        for number in 1..=count {
            while !self
                .get(number, "/healthz")
                .await
                .starts_with("HTTP/1.1 200")
            {
                assert!(Instant::now() < deadline, "broker {number} is not healthy");
                sleep(AGAIN).await; // a poll's pause
            }
        }
    }

    async fn start_one(&self, number: usize) -> ContainerAsync<GenericImage> {
        let ports = self.ports[number - 1];
        let name = |number: usize| format!("{}-{number}", self.network);
        let voters = (1..=self.ports.len()).map(|n| format!("{n}@{}:9094", name(n)));
        let voters = voters.collect::<Vec<_>>().join(",");
        let arguments = [
            format!("--id={number}"),
            format!("--voters={voters}"),
            "--data-dir=/data".to_owned(),
            format!("--client-listen=0.0.0.0:{CLIENT}"),
            format!("--client-advertised=127.0.0.1:{}", ports.client),
            "--replication-listen=0.0.0.0:9093".to_owned(),
            format!("--replication-advertised={}:9093", name(number)),
            "--controller-listen=0.0.0.0:9094".to_owned(),
            format!("--admin-listen=0.0.0.0:{ADMIN}"),
            format!("--min-insync-replicas={}", self.ports.len().min(2)),
        ];
        let data = self.data.path().join(number.to_string());
        let data = data.to_str().expect("a plain path");
        let published = HashMap::from([
            (format!("{CLIENT}/tcp"), Some(vec![loopback(ports.client)])),
            (format!("{ADMIN}/tcp"), Some(vec![loopback(ports.admin)])),
        ]);
        let request = image_of(&self.image)
            .with_cmd(arguments)
            .with_network(&self.network)
            .with_container_name(name(number))
            .with_mount(Mount::bind_mount(data, "/data"))
            .with_host_config_modifier(move |host| host.port_bindings = Some(published.clone()));
        request.start().await.expect("the container starts")
    }

    /// Stops all brokers by SIGTERM, after which they must end by themselves and well; then starts
    /// new containers on the same data.
    pub async fn stopped_and_started(mut self) -> Self {
        for container in self.containers.drain(..) {
            container.stop_with_timeout(Some(30)).await.expect("stops");
            let status = container.exit_code().await.expect("it is known");
            assert_eq!(status, Some(0), "SIGTERM ends a broker well");
            container.rm().await.expect("it is removed");
        }
        self.start().await;
        self
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let hosts = self.ports.iter().map(|p| format!("127.0.0.1:{}", p.client));
        hosts.collect::<Vec<_>>().join(",")
    }

    /// A topic with a replica on every broker.
    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .expect("an admin client");
        let replicas = i32::try_from(self.ports.len()).expect("few");
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let created = admin.create_topics([&new], &options).await;
        assert!(created.expect("an answer")[0].is_ok(), "{topic} is created");
    }

    /// What a broker's admin listener answers; nothing, if it does not.
    pub async fn get(&self, number: usize, path: &str) -> String {
        let port = self.ports[number - 1].admin;
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answered = timeout(PATIENCE / 10, asked).await;
        answered.ok().and_then(Result::ok).unwrap_or_default()
    }
}

fn loopback(port: u16) -> PortBinding {
    PortBinding {
        host_ip: Some("127.0.0.1".to_owned()),
        host_port: Some(port.to_string()),
    }
}

/// A port that was free a moment ago, and that no outgoing connection is given meanwhile: those
/// come from 32768 on. Each is handed out once in this process.
fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id() * 61 + TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(number % 20_000).expect("small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The image's user is nobody on this machine.
fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(path, everybody).expect("it is ours");
}
