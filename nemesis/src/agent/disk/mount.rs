//! The disk as a file system of the kernel, through FUSE.
//!
//! Nothing of it is cached by the kernel (direct IO, names and attributes that expire at once):
//! what a power loss takes must be gone for whoever looks next. Permissions are not checked.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

use super::tree::{Kind, Node, ROOT, Tree};
use super::volume::{Volume, locked};

/// Nothing is remembered.
const TTL: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);
const NO_HANDLE: FileHandle = FileHandle(0);
const DIRECT: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;
/// For `statfs`.
const BLOCK: u32 = 4096;
const NAME_MAX: u32 = 255;

/// A volume, as the kernel asks for it.
pub struct Mounted(pub Arc<Volume>);

fn attributes(number: u64, node: &Node) -> FileAttr {
    let (kind, size, changed) = match &node.kind {
        Kind::Dir { .. } => (FileType::Directory, 0, node.made),
        Kind::File(content) => {
            let content = locked(content);
            (FileType::RegularFile, content.len(), content.changed)
        }
    };
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: changed,
        mtime: changed,
        ctime: changed,
        crtime: node.made,
        kind,
        perm: node.mode,
        nlink: 1 + u32::from(node.is_dir()),
        uid: node.owner.0,
        gid: node.owner.1,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

impl Mounted {
    fn entry(&self, number: Result<u64, Errno>, reply: ReplyEntry) {
        let tree = locked(&self.0.tree);
        let found = number.and_then(|number| Ok(attributes(number, tree.node(number)?)));
        match found {
            Ok(attributes) => reply.entry(&TTL, &attributes, GENERATION),
            Err(error) => reply.error(error),
        }
    }

    /// Changes names, and forgets what has none any more.
    fn names(&self, change: impl FnOnce(&mut Tree) -> Result<(), Errno>, reply: ReplyEmpty) {
        let mut tree = locked(&self.0.tree);
        let done = change(&mut tree);
        self.0.sweep(&mut tree);
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}

fn owner(request: &Request) -> (u32, u32) {
    (request.uid(), request.gid())
}

fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

impl Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // For brokers that map their index files; older kernels cannot, and refuse the mapping.
        let _ = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = locked(&self.0.tree).find(parent.0, name);
        self.entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let tree = locked(&self.0.tree);
        match tree.node(ino.0) {
            Ok(node) => reply.attr(&TTL, &attributes(ino.0, node)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = || {
            if let Some(size) = size {
                let content = locked(&self.0.tree).content(ino.0)?;
                self.0.set_len(&content, size)?;
            }
            let mut tree = locked(&self.0.tree);
            if let (Some(time), Ok(content)) = (mtime, tree.content(ino.0)) {
                locked(&content).changed = match time {
                    TimeOrNow::SpecificTime(time) => time,
                    TimeOrNow::Now => SystemTime::now(),
                };
            }
            let node = tree.node_mut(ino.0)?;
            node.mode = mode.map_or(node.mode, permissions);
            node.owner.0 = uid.unwrap_or(node.owner.0);
            node.owner.1 = gid.unwrap_or(node.owner.1);
            Ok(attributes(ino.0, node))
        };
        match set() {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let node = Node::dir(permissions(mode), owner(request));
        let made = locked(&self.0.tree).add(parent.0, name, node);
        self.entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.names(|tree| tree.remove(parent.0, name, false), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.names(|tree| tree.remove(parent.0, name, true), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = ((parent.0, name), (newparent.0, newname));
        self.names(|tree| tree.rename(from, to, replace), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        locked(&self.0.tree).opened(ino.0);
        reply.opened(NO_HANDLE, DIRECT);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let create = || {
            let mode = permissions(mode);
            let number = self.0.create(parent.0, name, mode, owner(request))?;
            let tree = locked(&self.0.tree);
            Ok(attributes(number, tree.node(number)?))
        };
        match create() {
            Ok(found) => reply.created(&TTL, &found, GENERATION, NO_HANDLE, DIRECT),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let content = locked(&self.0.tree).content(ino.0);
        match content.and_then(|content| self.0.read(&content, offset, u64::from(size))) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let content = locked(&self.0.tree).content(ino.0);
        match content.and_then(|content| self.0.write(&content, offset, data)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let close = |tree: &mut Tree| {
            tree.closed(ino.0);
            Ok(())
        };
        self.names(close, reply);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let volume = self.0.clone();
        // A sync takes long, and others go on meanwhile.
        thread::spawn(move || {
            let content = locked(&volume.tree).content(ino.0);
            match content.and_then(|content| volume.sync(&content)) {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(error),
            }
        });
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.names(|tree| tree.dir_synced(ino.0), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tree = locked(&self.0.tree);
        let names = match tree.names(ino.0) {
            Ok(names) => names,
            Err(error) => return reply.error(error),
        };
        let directory = |number| tree.node(number).is_ok_and(Node::is_dir);
        // The place of an entry is its number: it stays when others go while somebody reads. The
        // way up is the kernel's business; of what is above the top it knows better.
        let dots = [(0, ino.0, OsStr::new(".")), (1, ROOT, OsStr::new(".."))];
        let named = names.iter().map(|(name, n)| (*n + 1, *n, name.as_os_str()));
        let mut entries: Vec<_> = dots.into_iter().chain(named).collect();
        entries.retain(|(place, ..)| *place >= offset);
        entries.sort_unstable();
        for (place, number, name) in entries {
            let kind = match directory(number) {
                true => FileType::Directory,
                false => FileType::RegularFile,
            };
            if reply.add(INodeNo(number), place + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (all, free) = match self.0.room() {
            Ok(room) => room,
            Err(error) => return reply.error(error.into()),
        };
        let blocks = |bytes: u64| bytes / u64::from(BLOCK);
        let (all, free) = (blocks(all), blocks(free));
        reply.statfs(all, free, free, 0, 0, BLOCK, NAME_MAX, BLOCK);
    }
}
