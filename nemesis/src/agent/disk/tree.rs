//! Names of files and directories: as they are, and as the disk has them.
//!
//! A name is made, changed or taken away at once, and durable when its directory was synced (or,
//! on a disk that keeps names in order as ext4 and XFS do, when anything was). A power loss brings
//! the durable names back. What has no name of either kind, and is not open, goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use fuser::Errno;

use super::content::Content;

/// Of the top directory.
pub const ROOT: u64 = 1;

type Names = BTreeMap<OsString, u64>;

/// What a number stands for.
#[derive(Debug)]
pub enum Kind {
    Dir { now: Names, durable: Names },
    File(Arc<Mutex<Content>>),
}

/// A file or a directory.
#[derive(Debug)]
pub struct Node {
    pub kind: Kind,
    pub mode: u16,
    pub owner: (u32, u32),
    pub made: SystemTime,
    opens: u32,
}

impl Node {
    pub fn dir(mode: u16, owner: (u32, u32)) -> Self {
        let (now, durable) = (Names::new(), Names::new());
        Self::new(Kind::Dir { now, durable }, mode, owner)
    }

    pub fn file(content: Content, mode: u16, owner: (u32, u32)) -> Self {
        Self::new(Kind::File(Arc::new(Mutex::new(content))), mode, owner)
    }

    fn new(kind: Kind, mode: u16, owner: (u32, u32)) -> Self {
        let made = SystemTime::now();
        Self {
            kind,
            mode,
            owner,
            made,
            opens: 0,
        }
    }

    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir { .. })
    }
}

/// All names.
#[derive(Debug)]
pub struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Names become durable in order, with the next sync of anything.
    ordered: bool,
}

impl Tree {
    pub fn new(ordered: bool, owner: (u32, u32)) -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::dir(0o777, owner))]),
            next: ROOT + 1,
            ordered,
        }
    }

    pub fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    pub fn node_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub fn content(&self, number: u64) -> Result<Arc<Mutex<Content>>, Errno> {
        match &self.node(number)?.kind {
            Kind::File(content) => Ok(content.clone()),
            Kind::Dir { .. } => Err(Errno::EISDIR),
        }
    }

    /// Every file that has a name, with it.
    pub fn files(&self) -> Vec<(OsString, Arc<Mutex<Content>>)> {
        let mut found = Vec::new();
        for node in self.nodes.values() {
            let Kind::Dir { now, .. } = &node.kind else {
                continue;
            };
            for (name, number) in now {
                if let Ok(content) = self.content(*number) {
                    found.push((name.clone(), content));
                }
            }
        }
        found
    }

    /// Every number there is.
    pub fn numbers(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub fn names(&self, dir: u64) -> Result<&Names, Errno> {
        match &self.node(dir)?.kind {
            Kind::Dir { now, .. } => Ok(now),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn names_mut(&mut self, dir: u64) -> Result<&mut Names, Errno> {
        match &mut self.node_mut(dir)?.kind {
            Kind::Dir { now, .. } => Ok(now),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub fn find(&self, dir: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(dir)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The number that the next node gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn add(&mut self, dir: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        let number = self.next;
        let names = self.names_mut(dir)?;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_owned(), number);
        self.next += 1;
        self.nodes.insert(number, node);
        Ok(number)
    }

    pub fn remove(&mut self, dir: u64, name: &OsStr, is_dir: bool) -> Result<(), Errno> {
        let number = self.find(dir, name)?;
        match (&self.node(number)?.kind, is_dir) {
            (Kind::Dir { now, .. }, true) if !now.is_empty() => return Err(Errno::ENOTEMPTY),
            (Kind::Dir { .. }, false) => return Err(Errno::EISDIR),
            (Kind::File(_), true) => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.names_mut(dir)?.remove(name);
        Ok(())
    }

    pub fn rename(
        &mut self,
        (dir, name): (u64, &OsStr),
        (to_dir, to_name): (u64, &OsStr),
        replace: bool,
    ) -> Result<(), Errno> {
        let number = self.find(dir, name)?;
        if let Ok(there) = self.find(to_dir, to_name) {
            let of_dir =
                matches!(&self.node(there)?.kind, Kind::Dir { now, .. } if !now.is_empty());
            if !replace {
                return Err(Errno::EEXIST);
            }
            if of_dir {
                return Err(Errno::ENOTEMPTY);
            }
        }
        self.names_mut(to_dir)?.insert(to_name.to_owned(), number);
        if (dir, name) != (to_dir, to_name) {
            self.names_mut(dir)?.remove(name);
        }
        Ok(())
    }

    pub fn opened(&mut self, number: u64) {
        if let Ok(node) = self.node_mut(number) {
            node.opens += 1;
        }
    }

    pub fn closed(&mut self, number: u64) {
        if let Ok(node) = self.node_mut(number) {
            node.opens = node.opens.saturating_sub(1);
        }
    }

    /// A directory was synced.
    pub fn dir_synced(&mut self, dir: u64) -> Result<(), Errno> {
        if self.ordered {
            self.all_synced();
            return Ok(());
        }
        if let Kind::Dir { now, durable } = &mut self.node_mut(dir)?.kind {
            durable.clone_from(now);
        }
        Ok(())
    }

    /// A file was synced.
    pub fn file_synced(&mut self) {
        if self.ordered {
            self.all_synced();
        }
    }

    fn all_synced(&mut self) {
        for node in self.nodes.values_mut() {
            if let Kind::Dir { now, durable } = &mut node.kind {
                durable.clone_from(now);
            }
        }
    }

    /// A power loss: how many names were not durable, or no longer.
    pub fn lose(&mut self) -> u64 {
        let mut lost = 0;
        for node in self.nodes.values_mut() {
            node.opens = 0;
            if let Kind::Dir { now, durable } = &mut node.kind {
                let (now_set, old): (BTreeSet<_>, BTreeSet<_>) =
                    (now.iter().collect(), durable.iter().collect());
                lost += now_set.symmetric_difference(&old).count() as u64;
                *now = durable.clone();
            }
        }
        lost
    }

    /// Takes out what has no name and is not open; the numbers of the files among it.
    pub fn sweep(&mut self) -> Vec<u64> {
        let mut reached = BTreeSet::new();
        let mut left = vec![ROOT];
        let open = self.nodes.iter().filter(|(_, node)| node.opens > 0);
        left.extend(open.map(|(number, _)| *number));
        while let Some(number) = left.pop() {
            if !reached.insert(number) {
                continue;
            }
            if let Some(Kind::Dir { now, durable }) = self.nodes.get(&number).map(|n| &n.kind) {
                left.extend(now.values().chain(durable.values()));
            }
        }
        let gone: Vec<u64> = self.nodes.keys().copied().collect();
        let gone: Vec<u64> = gone.into_iter().filter(|n| !reached.contains(n)).collect();
        let mut files = Vec::new();
        for number in gone {
            if self
                .nodes
                .remove(&number)
                .is_some_and(|node| !node.is_dir())
            {
                files.push(number);
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Node {
        let content = Content::new(tempfile::tempfile().unwrap());
        Node::file(content, 0o600, (0, 0))
    }

    fn names(tree: &Tree, dir: u64) -> Vec<&str> {
        let names = tree.names(dir).unwrap().keys();
        names.map(|name| name.to_str().unwrap()).collect()
    }

    #[test]
    fn names_are_durable_when_their_directory_was_synced() {
        let mut tree = Tree::new(false, (0, 0));
        let a = tree.add(ROOT, "a".as_ref(), file()).unwrap();
        tree.dir_synced(ROOT).unwrap();
        tree.rename((ROOT, "a".as_ref()), (ROOT, "b".as_ref()), true)
            .unwrap();
        let dir = tree
            .add(ROOT, "d".as_ref(), Node::dir(0o755, (0, 0)))
            .unwrap();
        tree.add(dir, "new".as_ref(), file()).unwrap();
        tree.file_synced();
        assert_eq!(names(&tree, ROOT), ["b", "d"]);
        assert!(tree.sweep().is_empty());
        assert_eq!(tree.lose(), 3 + 1);
        assert_eq!(names(&tree, ROOT), ["a"]);
        assert_eq!(tree.find(ROOT, "a".as_ref()).unwrap(), a);
        assert_eq!(
            tree.sweep().len(),
            1,
            "the new file; its directory, too, is gone"
        );
        assert!(tree.node(dir).is_err());
    }

    #[test]
    fn on_a_disk_that_keeps_order_any_sync_makes_all_names_durable() {
        let mut tree = Tree::new(true, (0, 0));
        let dir = tree
            .add(ROOT, "d".as_ref(), Node::dir(0o755, (0, 0)))
            .unwrap();
        tree.add(dir, "one".as_ref(), file()).unwrap();
        tree.file_synced();
        tree.add(dir, "two".as_ref(), file()).unwrap();
        tree.lose();
        assert_eq!(names(&tree, dir), ["one"]);
    }

    #[test]
    fn a_removed_file_lives_while_it_is_open_or_its_name_is_durable() {
        let mut tree = Tree::new(false, (0, 0));
        let number = tree.add(ROOT, "a".as_ref(), file()).unwrap();
        tree.dir_synced(ROOT).unwrap();
        tree.opened(number);
        tree.remove(ROOT, "a".as_ref(), false).unwrap();
        assert_eq!(tree.remove(ROOT, "a".as_ref(), false), Err(Errno::ENOENT));
        assert!(tree.sweep().is_empty(), "durable");
        tree.dir_synced(ROOT).unwrap();
        assert!(tree.sweep().is_empty(), "open");
        tree.closed(number);
        assert_eq!(tree.sweep(), [number]);
    }

    #[test]
    fn what_is_in_the_way_is_respected() {
        let mut tree = Tree::new(false, (0, 0));
        tree.add(ROOT, "a".as_ref(), file()).unwrap();
        let dir = tree
            .add(ROOT, "d".as_ref(), Node::dir(0o755, (0, 0)))
            .unwrap();
        tree.add(dir, "x".as_ref(), file()).unwrap();
        assert_eq!(
            tree.add(ROOT, "a".as_ref(), file()).err(),
            Some(Errno::EEXIST)
        );
        let (a, d) = ((ROOT, "a".as_ref()), (ROOT, "d".as_ref()));
        assert_eq!(tree.rename(a, d, true), Err(Errno::ENOTEMPTY));
        assert_eq!(tree.rename(d, a, false), Err(Errno::EEXIST));
        assert_eq!(tree.remove(ROOT, "d".as_ref(), true), Err(Errno::ENOTEMPTY));
        assert_eq!(tree.remove(ROOT, "d".as_ref(), false), Err(Errno::EISDIR));
        assert_eq!(tree.remove(ROOT, "a".as_ref(), true), Err(Errno::ENOTDIR));
    }
}
