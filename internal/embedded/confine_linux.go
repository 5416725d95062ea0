package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock's file system rights, by what they are for.
const (
	rightsRead    = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	rightsExecute = rightsRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	rightsWrite   = rightsRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	rightsNeverGiven = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	rightsOfAFile = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	ruleNetPort = 2
)

// landlockVersion is what the kernel can do: 0 nothing; 2 files; 3 truncation;
// 4 TCP ports. Version 1 cannot allow renames between directories.
func landlockVersion() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || v < 2 {
		return 0
	}
	return int(v)
}

func canConfine() bool { return landlockVersion() > 0 }

// confineThread confines the calling thread, and every process that it starts,
// for good. The caller has locked its goroutine to the thread and never unlocks
// it.
func confineThread(c confinement) error {
	version := landlockVersion()
	if version == 0 {
		return errors.New("cannot confine ClickHouse: the kernel has no Landlock (Linux 5.19)")
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rightsExecute | rightsWrite | rightsNeverGiven}
	write, size := uint64(rightsWrite), unsafe.Sizeof(attr.Handled_access_fs)
	if version >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
		write |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("cannot confine ClickHouse: %w", errno)
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)

	for _, r := range []struct {
		paths  []string
		rights uint64
	}{{append(c.execute, "/proc/self/exe"), rightsExecute}, {c.read, rightsRead}, {c.write, write}} {
		for _, path := range r.paths {
			if err := allowPath(ruleset, path, r.rights); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot confine ClickHouse: cannot allow %q: %w", path, err)
			}
		}
	}
	if version >= 4 {
		for _, port := range c.bind {
			if err := allowPort(ruleset, port, unix.LANDLOCK_ACCESS_NET_BIND_TCP); err != nil {
				return fmt.Errorf("cannot confine ClickHouse: cannot allow port %d: %w", port, err)
			}
		}
		for _, port := range c.connect {
			if err := allowPort(ruleset, port, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP); err != nil {
				return fmt.Errorf("cannot confine ClickHouse: cannot allow port %d: %w", port, err)
			}
		}
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot confine ClickHouse: %w", err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return fmt.Errorf("cannot confine ClickHouse: %w", errno)
	}
	return nil
}

// keptCapabilities let root use data directories of other users and privileged
// ports, as before. The others go: CAP_PERFMON, for one, passes by Landlock when
// it opens the environment of another process.
var keptCapabilities = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_NET_BIND_SERVICE,
}

// dropCapabilities bounds what root has after the next exec. Other users have no
// capabilities to drop, and no right to drop them.
func dropCapabilities() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(keptCapabilities, c) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		switch {
		case err == nil, errors.Is(err, unix.EINVAL): // EINVAL: unknown to this kernel
		case errors.Is(err, unix.EPERM):
			return nil
		default:
			return fmt.Errorf("cannot confine ClickHouse: cannot drop capability %d: %w", c, err)
		}
	}
	return nil
}

func allowPath(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= rightsOfAFile
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	return addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule))
}

func allowPort(ruleset, port int, right uint64) error {
	rule := struct{ access, port uint64 }{right, uint64(port)}
	return addRule(ruleset, ruleNetPort, unsafe.Pointer(&rule))
}

func addRule(ruleset int, kind uintptr, rule unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(rule), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
