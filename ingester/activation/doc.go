// Package activation takes the sockets that systemd opened before the start: sd_listen_fds(3),
// in the few lines that it is.
//
// systemd keeps such a socket while the daemon restarts, and with it the connections and
// datagrams that arrive meanwhile. A socket belongs to the listener that its unit names
// (FileDescriptorName=), or else to the one with its address. One that belongs to none is an
// error, since its senders would wait for ever.
package activation
