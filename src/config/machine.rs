//! How much memory this process may use, of which customers and stores get a part where no setting says how much.

use std::fs;
use std::path::Path;

/// What a store gets of a machine that does not tell, and of one where a quarter is less.
const ORDINARY_BYTES: usize = 1 << 30;
/// What a store gets at least.
const LEAST_BYTES: usize = 64 << 20;
/// What is shown in whole numbers of.
const STEP_BYTES: usize = 1 << 20;

/// The memory for customers and stores: a quarter of what may be used; 1 GiB where that is less, unless it is more than a
/// third.
pub(super) fn share_of(usable_bytes: Option<usize>) -> usize {
    let Some(usable_bytes) = usable_bytes else { return ORDINARY_BYTES };
    let share = (usable_bytes / 4).max(ORDINARY_BYTES.min(usable_bytes / 3));
    (share / STEP_BYTES * STEP_BYTES).max(LEAST_BYTES)
}

/// What the process may use: what the machine has, or less if its control group has a limit; `None` if neither tells.
pub(super) fn usable_memory_bytes() -> Option<usize> {
    usable_below(Path::new("/"))
}

/// The part of it that nobody else uses.
#[must_use]
pub fn free_memory_bytes() -> Option<usize> {
    usable_memory_bytes().into_iter().chain(meminfo(Path::new("/"), "MemAvailable:")).min()
}

/// [`usable_memory_bytes`] of a machine whose files are below `root`.
fn usable_below(root: &Path) -> Option<usize> {
    let total = meminfo(root, "MemTotal:");
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    // In a container the path may be the host's, while what is mounted is the container's own group as the root.
    let own = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let limits = own.chain([("", "/"), ("memory", "/")]).filter_map(|(controllers, group)| {
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            controllers if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // Each group above has its own limit.
        let groups = Path::new(group.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| number(&root.join(mount).join(group).join(file))).min()
    });
    limits.chain(total).min()
}

/// What the kernel tells of memory under a name, bytes.
fn meminfo(root: &Path, name: &str) -> Option<usize> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let kilobytes = meminfo.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?;
    kilobytes.trim().parse::<usize>().ok()?.checked_mul(1_024)
}

/// No limit is a word in one version of control groups, and a number beyond all memory in the other.
fn number(path: &Path) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;
    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemFree:  1000 kB\nMemTotal:       16777216 kB\n");

    #[track_caller]
    fn check_usable(files: &[(&str, &str)], expected: Option<usize>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(usable_below(root.path()), expected);
    }

    #[test]
    fn the_least_of_memory_and_limits_may_be_used() {
        check_usable(&[], None);
        check_usable(&[MEMINFO], Some(16 * GIB));
        // Version 2: a service of its own, below a slice that has less.
        let service = ("proc/self/cgroup", "0::/system.slice/segue.service\n");
        let of_service = ("sys/fs/cgroup/system.slice/segue.service/memory.max", "8589934592\n");
        check_usable(&[MEMINFO, service, of_service], Some(8 * GIB));
        let of_slice = ("sys/fs/cgroup/system.slice/memory.max", "4294967296\n");
        check_usable(&[MEMINFO, service, of_service, of_slice], Some(4 * GIB));
        check_usable(
            &[MEMINFO, service, ("sys/fs/cgroup/system.slice/segue.service/memory.max", "max\n")],
            Some(16 * GIB),
        );
        // A container, with and without a namespace.
        let of_container = ("sys/fs/cgroup/memory.max", "3221225472\n");
        check_usable(&[MEMINFO, ("proc/self/cgroup", "0::/\n"), of_container], Some(3 * GIB));
        check_usable(&[MEMINFO, ("proc/self/cgroup", "0::/kubepods/pod1\n"), of_container], Some(3 * GIB));
        // Version 1.
        let groups = ("proc/self/cgroup", "5:cpu,cpuacct:/cpu\n4:memory:/docker/1\n0::/\n");
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        check_usable(&[MEMINFO, groups, unlimited], Some(16 * GIB));
        let of_docker = ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "2147483648\n");
        check_usable(&[MEMINFO, groups, unlimited, of_docker], Some(2 * GIB));
        check_usable(&[groups, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n")], Some(GIB));
        check_usable(&[("proc/meminfo", "MemTotal: much\n"), ("proc/self/cgroup", "::\nx\n")], None);
    }

    #[test]
    fn stores_get_a_part_of_it() {
        for (usable_mib, expected_mib) in
            [(65_536, 16_384), (24_105, 6_026), (4_096, 1_024), (3_072, 1_024), (1_536, 512), (256, 85), (10, 64)]
        {
            assert_eq!(share_of(Some(usable_mib << 20)) >> 20, expected_mib, "of {usable_mib} MiB");
        }
        assert_eq!(share_of(None), GIB);
    }
}
