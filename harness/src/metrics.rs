//! Reads a broker's `/metrics`: one HTTP request, and the Prometheus text as a map.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More than that is not read: a broker with 500 partitions needs a tenth of it.
const BODY_BYTES_MAX: u64 = 8 << 20;

/// Fetches a path from an admin listener and returns the body of a 200 answer.
///
/// # Errors
/// Where there is no such answer within `within`.
pub async fn get(address: &str, path: &str, within: Duration) -> std::io::Result<String> {
    let fetch = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(BODY_BYTES_MAX).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        body_of(&answer)
    };
    tokio::time::timeout(within, fetch)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

fn body_of(answer: &str) -> std::io::Result<String> {
    let bad = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| bad("not an HTTP answer"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(bad(&format!("status {status}")));
    }
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return Ok(unchunked(body));
    }
    Ok(body.to_owned())
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        whole.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

/// Fetches `/metrics` as a map of sample name (labels included) to value.
///
/// # Errors
/// As [`get`].
pub async fn scrape(address: &str, within: Duration) -> std::io::Result<BTreeMap<String, f64>> {
    let text = get(address, "/metrics", within).await?;
    Ok(parse(&text))
}

/// Samples of the Prometheus text format; histograms' buckets are left out, their sums kept.
fn parse(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket{"))
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let value: f64 = value.parse().ok()?;
            value.is_finite().then(|| (name.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_the_rest_is_passed_over() {
        let text = "# HELP hw x\nhw{topic=\"t\",partition=\"0\"} 17\nfsync_bucket{le=\"1\"} 4\n\
            fsync_sum 0.25\nodd NaN\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 2);
        assert_eq!(samples["hw{topic=\"t\",partition=\"0\"}"], 17.0);
        assert_eq!(samples["fsync_sum"], 0.25);
    }

    #[test]
    fn answers_are_read_chunked_or_not() {
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na 1";
        assert_eq!(body_of(plain).expect("ok"), "a 1");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\na \r\n1\r\n1\r\n0\r\n\r\n";
        assert_eq!(body_of(chunked).expect("ok"), "a 1");
        assert!(body_of("HTTP/1.1 503 Busy\r\n\r\nno").is_err());
        assert!(body_of("rubbish").is_err());
    }
}
