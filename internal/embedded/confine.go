package embedded

import (
	"os"
	"path/filepath"
)

// confinement is what the ClickHouse child may still do once the kernel holds
// it. Grants alone do not keep SQL away from files: the function file() asks
// for no grant, and the engine in this form ignores user_files_path. So the
// child is confined by the kernel where that can be (Landlock, Linux 5.19).
type confinement struct {
	execute []string // files and directories to read and run
	read    []string // files and directories to read
	write   []string // files and directories to do everything with
	bind    []int    // TCP ports to listen on
	connect []int    // TCP ports to connect to
}

func (ch *ClickHouse) confinement(config *serverConfig) confinement {
	c := confinement{
		// Paths that do not exist are left out.
		execute: []string{"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store", ch.Library},
		read: []string{
			// What /proc shows of processes outside the confinement is then no more
			// than any user of the machine may see: no environment, no memory.
			"/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm", "/dev/urandom", "/dev/random", "/dev/zero",
			"/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
			config.mainPath(), config.usersPath(),
		},
		write: []string{"/dev/null", config.dataPath(), config.logDir()},
		bind:  []int{config.native.port},
		// The child kills its own life line over the native protocol.
		connect: []int{config.native.port},
	}
	if config.cluster != nil {
		others, _ := config.cluster.addresses() // the start has looked at them
		for _, a := range others {
			c.connect = append(c.connect, a.port)
		}
	}
	if config.withHTTP {
		c.bind = append(c.bind, config.http.port)
	}
	for _, dir := range filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")) {
		if dir != "" {
			c.execute = append(c.execute, dir)
		}
	}
	return c
}
