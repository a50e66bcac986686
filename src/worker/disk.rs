//! How much room there is on the disk of the stores.

use std::io;
use std::path::Path;

/// A file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// What is left to processes without privileges.
    pub free_bytes: u64,
    /// All of it.
    pub size_bytes: u64,
}

impl Disk {
    /// The file system of a path, or of the nearest directory above it that exists.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let figures = rustix::fs::statvfs(there)?;
        let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
        Ok(Self { free_bytes: bytes(figures.f_bavail), size_bytes: bytes(figures.f_blocks) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_on_the_disk_of_the_one_above() {
        let directory = tempfile::tempdir().unwrap();
        let here = Disk::of(directory.path()).unwrap();
        let below = Disk::of(&directory.path().join("not/yet")).unwrap();
        assert_eq!(below.size_bytes, here.size_bytes);
        assert!(here.size_bytes > 0 && here.free_bytes <= here.size_bytes, "{here:?}");
    }
}
