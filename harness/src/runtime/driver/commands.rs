//! A cluster that is worked by the commands of a `driver.toml`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use nemesis::{FaultKind, NodeId};
use serde_json::{Value as Json, json};

use super::Driver;
use super::file::{DriverFile, FileError, NodeEntry, Verb, is_address};
use super::shell::{Shell, Variables};

/// A `driver.toml` at work.
#[derive(Debug)]
pub struct FileDriver {
    file: DriverFile,
    shell: Shell,
}

impl FileDriver {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        DriverFile::read(path).map(Self::of)
    }

    /// As it was stored by [`Driver::stored`].
    ///
    /// # Errors
    /// What is missing.
    pub fn restored(stored: &Json) -> Result<Self, String> {
        let text = |name: &str| {
            let value = stored[name].as_str();
            value.ok_or(format!("`{name}` is missing"))
        };
        let path = PathBuf::from(text("file")?);
        let file = DriverFile::parse(&path, text("text")?.to_owned());
        file.map(Self::of).map_err(|error| error.to_string())
    }

    fn of(file: DriverFile) -> Self {
        let path = std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone());
        let dir = path.parent().unwrap_or(&path).to_owned();
        let limit = file.limit;
        Self {
            file,
            shell: Shell { dir, limit },
        }
    }
}

fn variables(node: &NodeEntry) -> Variables {
    let (host, port) = node.address.rsplit_once(':').unwrap_or((&node.address, ""));
    vec![
        ("NODE_ID", node.id.to_string()),
        ("NODE_ADDRESS", node.address.clone()),
        ("NODE_HOST", host.to_owned()),
        ("NODE_PORT", port.to_owned()),
    ]
}

#[async_trait]
impl Driver for FileDriver {
    fn name(&self) -> String {
        self.file.path.display().to_string()
    }

    fn has(&self, verb: Verb) -> bool {
        self.file.command(verb).is_some()
    }

    fn offers(&self, kind: FaultKind) -> bool {
        self.file.offers(kind)
    }

    async fn nodes(&self) -> Result<Vec<NodeEntry>, String> {
        let command = match self.file.addresses() {
            Some(command) if self.file.nodes.is_empty() => command,
            _ => return Ok(self.file.nodes.clone()),
        };
        let said = self.shell.ask(command, &Vec::new()).await;
        let said = said.map_err(|why| format!("`addresses`: {why}"))?;
        nodes_of(&String::from_utf8_lossy(&said))
    }

    async fn act(&self, node: &NodeEntry, verb: Verb, dir: &Path) -> Result<(), String> {
        let Some(command) = self.file.command(verb) else {
            let (name, verb) = (self.name(), verb.name());
            return Err(format!("{name} has no command `{verb}`"));
        };
        let log = dir.join(format!("{}.commands.log", node.id));
        self.shell.act(command, &variables(node), &log).await
    }

    async fn log(&self, node: &NodeEntry) -> Result<Option<Vec<u8>>, String> {
        match self.file.logs() {
            Some(command) => self.shell.ask(command, &variables(node)).await.map(Some),
            None => Ok(None),
        }
    }

    async fn role_of(&self, role: &str, partition: Option<(&str, u32)>) -> Option<NodeId> {
        let command = self.file.role_of()?;
        let mut variables = vec![("ROLE", role.to_owned())];
        if let Some((topic, partition)) = partition {
            variables.push(("TOPIC", topic.to_owned()));
            variables.push(("PARTITION", partition.to_string()));
        }
        // One that fails knows nothing: the brokers are asked then.
        let said = self.shell.ask(command, &variables).await.ok()?;
        let id = String::from_utf8_lossy(&said).trim().parse().ok()?;
        Some(NodeId(id))
    }

    fn stored(&self) -> Json {
        let path = std::path::absolute(&self.file.path).unwrap_or_else(|_| self.file.path.clone());
        json!({"driver": "file", "file": path, "text": self.file.text})
    }
}

/// `ID HOST:PORT` lines.
fn nodes_of(said: &str) -> Result<Vec<NodeEntry>, String> {
    let mut nodes: Vec<NodeEntry> = Vec::new();
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let node = line.split_once(char::is_whitespace).and_then(|(id, at)| {
            let (id, address) = (id.parse().ok()?, at.trim().to_owned());
            is_address(&address).then_some(NodeEntry { id, address })
        });
        let node = node.ok_or(format!("`addresses` said `{line}`, not `ID HOST:PORT`"))?;
        if nodes
            .iter()
            .any(|n| n.id == node.id || n.address == node.address)
        {
            return Err(format!("`addresses` names a broker twice: `{line}`"));
        }
        nodes.push(node);
    }
    if nodes.is_empty() {
        return Err("`addresses` named no broker".to_owned());
    }
    nodes.sort_by_key(|node| node.id);
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(commands: &str) -> FileDriver {
        let text = format!("[commands]\n{commands}\n");
        let path = std::env::temp_dir().join("driver.toml");
        FileDriver::of(DriverFile::parse(&path, text).expect("it is read"))
    }

    #[tokio::test]
    async fn brokers_and_roles_are_asked_for_where_commands_tell_them() {
        let driver = driver(
            "addresses = \"echo 2 h:2; echo; echo '1  h:1'\"\n\
             role-of = 'test $ROLE = leader && echo $PARTITION'",
        );
        let nodes = driver.nodes().await.expect("two");
        let told: Vec<(u32, &str)> = nodes.iter().map(|n| (n.id, n.address.as_str())).collect();
        assert_eq!(told, [(1, "h:1"), (2, "h:2")]);
        let leader = driver.role_of("leader", Some(("t", 7))).await;
        assert_eq!(leader, Some(NodeId(7)));
        assert_eq!(driver.role_of("controller", None).await, None);
    }

    #[tokio::test]
    async fn what_is_no_list_of_brokers_is_told() {
        for (said, expected) in [
            ("echo 1", "not `ID HOST:PORT`"),
            ("echo 1 h:1; echo 1 h:2", "twice"),
            ("true", "no broker"),
            ("echo gone >&2; exit 3", "gone"),
        ] {
            let driver = driver(&format!("addresses = '{said}'"));
            let why = driver.nodes().await.expect_err("it is refused");
            assert!(why.contains(expected), "{why}");
        }
    }
}
