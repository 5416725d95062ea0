package kafkatest

// PIDs are the nodes' processes, for what the kernel knows of them.
func (c *Cluster) PIDs() (all []int) {
	for _, n := range c.nodes {
		if n.runs() {
			all = append(all, n.cmd.Process.Pid)
		}
	}
	return all
}
