package imaptest

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// config makes the settings.
func (s *Server) config(tree string, group uint32) (string, error) {
	protocols, relay := "imap", ""
	if s.relay != nil {
		protocols = "imap submission"
		var err error
		if relay, err = s.relaying(); err != nil {
			return "", err
		}
	}
	as, err := user.LookupId(strconv.Itoa(int(s.owner)))
	if err != nil {
		return "", err
	}
	of, err := user.LookupGroupId(strconv.Itoa(int(group)))
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("DIR", s.dir, "USER", as.Username, "GROUP", of.Name, "UID", strconv.Itoa(int(s.owner)), "GID", strconv.Itoa(int(group)),
		"TLSPORT", strconv.Itoa(s.TLSPort), "PLAINPORT", strconv.Itoa(s.PlainPort), "LIBRARIES", libraries(s.dir, tree), "PROTOCOLS", protocols).Replace(`
base_dir = DIR/run
state_dir = DIR/run
libexec_dir = DIR/bin
mail_plugin_dir = DIR/m
log_path = DIR/log
instance_name = millrace-test
protocols = PROTOCOLS
listen = 127.0.0.1
default_internal_user = USER
default_internal_group = GROUP
default_login_user = USER
import_environment = TZ LD_LIBRARY_PATH=LIBRARIES
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
ssl_dh =
disable_plaintext_auth = no
auth_failure_delay = 0
mail_fsync = never
mail_location = maildir:DIR/mail/%u
mail_uid = UID
mail_gid = GID
first_valid_uid = 0
first_valid_gid = 0
passdb {
  driver = passwd-file
  args = DIR/passwd
}
userdb {
  driver = static
  args = uid=UID gid=GID home=DIR/mail/%u
}
service imap-login {
  chroot =
  inet_listener imap {
    port = PLAINPORT
  }
  inet_listener imaps {
    port = TLSPORT
    ssl = yes
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
`) + relay, nil
}

// relaying are the settings of a server that relays mail.
func (s *Server) relaying() (string, error) {
	host, port, err := net.SplitHostPort(s.relay.Address)
	settings := fmt.Sprintf(`
hostname = dovecot.test
submission_relay_host = %s
submission_relay_port = %s
submission_relay_ssl = %s
service submission-login {
  chroot =
  inet_listener submission {
    port = %d
  }
}
`, host, port, s.relay.TLS, s.MailPort)
	if s.relay.CA != "" {
		ca, err := os.ReadFile(s.relay.CA)
		if err == nil {
			err = s.write("relay-ca.pem", ca) // where its user can read it
		}
		if err != nil {
			return "", err
		}
		settings += "ssl_client_ca_file = " + filepath.Join(s.dir, "relay-ca.pem") + "\n"
	}
	return settings, err
}
