package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"millrace/cmd"
	"millrace/internal/certtest"
	"millrace/internal/config"
)

// What deploy/ says of containers fits together: commands that there are, configurations that
// `millrace check` passes, ports that somebody listens on, directories that are written.

// checked is a shipped configuration, after `millrace check` of it in the environment.
func checked(t *testing.T, file string, environment map[string]string) *config.Config {
	t.Helper()
	for name, value := range environment {
		t.Setenv(name, value)
	}
	c := cmd.New()
	var out, errs bytes.Buffer
	c.SetArgs([]string{"check", "--config", file})
	c.SetOut(&out)
	c.SetErr(&errs)
	if err := c.Execute(); err != nil {
		t.Fatalf("millrace check --config %s: %v\n%s", file, err, &errs)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// command is what args of a container run; its flags are parsed.
func command(t *testing.T, args []string, configFile string) string {
	t.Helper()
	c, rest, err := cmd.New().Find(args)
	if err != nil || c.Parent() == nil {
		t.Fatalf("%q is no command: %v", args, err)
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", args, err)
	}
	if got, _ := c.Flags().GetString("config"); got != configFile {
		t.Errorf("%q reads the configuration %q; it is mounted as %s", args, got, configFile)
	}
	return strings.TrimPrefix(c.CommandPath(), "millrace ")
}

// listens are the ports that a command listens on, beyond loopback, with their networks.
func listens(t *testing.T, command string, cfg *config.Config) []string {
	t.Helper()
	var all []string
	add := func(network, address string) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || net.ParseIP(host) == nil || !net.ParseIP(host).IsUnspecified() {
			t.Errorf("%s: nobody outside reaches %q of %s", cfg.File, address, command)
		}
		all = append(all, port+"/"+network)
	}
	switch command {
	case "ingest":
		for _, l := range cfg.Listeners {
			add(l.Address.Network, net.JoinHostPort(l.Address.Host, strconv.Itoa(int(l.Address.Port))))
		}
		add("tcp", cfg.HTTP.Ingest.String())
	case "transform":
		add("tcp", cfg.HTTP.Transform.String())
	case "serve":
		add("tcp", cfg.API.Address.String())
		add("tcp", cfg.HTTP.Serve.String())
	}
	return all
}

// within tells whether a directory is in one of the mounts, or is one.
func within(dir string, mounts []string) bool {
	return slices.ContainsFunc(mounts, func(m string) bool { return dir == m || strings.HasPrefix(dir, m+"/") })
}

func TestCompose(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Image     string
			Command   []string
			Ports     []string
			Volumes   []string
			Depends   map[string]struct{ Condition string } `yaml:"depends_on"`
			ReadOnly  bool                                  `yaml:"read_only"`
			Environ   map[string]string                     `yaml:"environment"`
			CapDrop   []string                              `yaml:"cap_drop"`
			StopGrace string                                `yaml:"stop_grace_period"`
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	cfg := checked(t, "deploy/config.compose.yaml", nil)
	ran := map[string]bool{}
	for name, s := range file.Services {
		for after := range s.Depends {
			if _, ok := file.Services[after]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, after)
			}
		}
		var mounts []string
		for _, v := range s.Volumes {
			part := strings.Split(v, ":")
			if strings.HasPrefix(part[0], "./") {
				if _, err := os.Stat(filepath.Join("deploy", part[0])); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, ok := file.Volumes[part[0]]; !ok {
				t.Errorf("%s: the volume %s is not among those at the end", name, part[0])
			} else {
				mounts = append(mounts, part[1])
			}
		}
		if !strings.HasPrefix(s.Image, "millrace:") {
			continue
		}
		if !slices.Contains(s.Volumes, "./config.compose.yaml:/etc/millrace.yaml:ro") || !s.ReadOnly || s.Environ["MILLRACE_CLICKHOUSE_READER_PASSWORD"] == "" || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.StopGrace == "" {
			t.Errorf("%s misses what the others have: %+v", name, s)
		}
		what := command(t, s.Command, "/etc/millrace.yaml")
		ran[what] = true
		open := listens(t, what, cfg)
		for _, p := range s.Ports {
			published, ok := strings.CutPrefix(p, "127.0.0.1:")
			port, network, _ := strings.Cut(published, "/")
			from, to, _ := strings.Cut(port, ":")
			if network == "" {
				network = "tcp"
			}
			if !ok || from != to || !slices.Contains(open, to+"/"+network) {
				t.Errorf("%s publishes %s; %s listens on %q, and nothing is published beyond loopback", name, p, what, open)
			}
		}
		if len(open) > 0 && len(s.Ports) != len(open) {
			t.Errorf("%s publishes %q of %q", name, s.Ports, open)
		}
		if dir := cfg.API.Dir; what == "serve" && (dir == "" || !within(dir, mounts)) {
			t.Errorf("%s: nothing can be written in api.dir %q; volumes %q", name, dir, mounts)
		}
	}
	if !ran["serve"] || !ran["ingest"] || !ran["transform"] || !ran["schema apply"] {
		t.Errorf("the services run %v", ran)
	}
	// A volume takes over whose the image's directory is: the image must have it.
	if image := read(t, "deploy/Dockerfile"); !strings.Contains(image, "install -d -m 0700 /out/lib/millrace\n") || !strings.Contains(image, "COPY --from=build --chown=65532:65532 /out/lib/ /var/lib/\n") {
		t.Error("the image has no /var/lib/millrace of its user")
	}
}

// manifest is as much of a Kubernetes object as is looked at.
type manifest struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Selector yaml.Node
		Ports    []struct {
			Name       string
			TargetPort string `yaml:"targetPort"`
		}
		Template struct {
			Metadata struct{ Labels, Annotations map[string]string }
			Spec     struct {
				SecurityContext struct {
					RunAsNonRoot bool `yaml:"runAsNonRoot"`
					RunAsUser    int  `yaml:"runAsUser"`
				} `yaml:"securityContext"`
				Containers []struct {
					Args  []string
					Env   []struct{ Name, Value string }
					Ports []struct {
						Name          string
						ContainerPort string `yaml:"containerPort"`
					}
					ReadinessProbe probe `yaml:"readinessProbe"`
					LivenessProbe  probe `yaml:"livenessProbe"`
					VolumeMounts   []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
						ReadOnly  bool   `yaml:"readOnly"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct{ Name string }
			}
		}
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func manifests(t *testing.T) (all []manifest) {
	t.Helper()
	var kustomization struct{ Resources []string }
	if err := yaml.Unmarshal([]byte(read(t, "deploy/kubernetes/kustomization.yaml")), &kustomization); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("deploy/kubernetes/*.yaml")
	if err != nil || len(files) != len(kustomization.Resources)+2 { // itself, and the configuration
		t.Errorf("%q, of which the kustomization has %q: %v", files, kustomization.Resources, err)
	}
	for _, name := range kustomization.Resources {
		for d := yaml.NewDecoder(strings.NewReader(read(t, "deploy/kubernetes/"+name))); ; {
			var m manifest
			if err := d.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all = append(all, m)
		}
	}
	return all
}

func TestKubernetes(t *testing.T) {
	pair := certtest.New(t).Issue(t, certtest.Subject{})
	cfg := checked(t, "deploy/kubernetes/config.yaml", map[string]string{"MILLRACE_API_CERT": pair.Cert, "MILLRACE_API_KEY": pair.Key})
	if cfg.API.TLS.Cert != pair.Cert || cfg.API.TLS.Key != pair.Key {
		t.Errorf("the environment names a certificate; the configuration has %+v", cfg.API.TLS)
	}
	all := manifests(t)
	ran := map[string]bool{}
	for _, m := range all {
		pod := m.Spec.Template.Spec
		for _, c := range pod.Containers {
			what := command(t, c.Args, "/etc/millrace/millrace.yaml")
			ran[what] = true
			if !pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.RunAsUser != 65532 {
				t.Errorf("%s runs as %+v", m.Metadata.Name, pod.SecurityContext)
			}
			open, named := listens(t, what, cfg), map[string]string{}
			for _, p := range c.Ports {
				named[p.Name] = p.ContainerPort
				if !slices.Contains(open, p.ContainerPort+"/tcp") {
					t.Errorf("%s has port %s; %s listens on %q", m.Metadata.Name, p.ContainerPort, what, open)
				}
			}
			if len(c.Ports) != len(open) {
				t.Errorf("%s has the ports %v of %q", m.Metadata.Name, named, open)
			}
			if m.Kind == "Deployment" {
				if c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Port != "http" || named["http"] == "" {
					t.Errorf("%s: probes %+v %+v, ports %v", m.Metadata.Name, c.ReadinessProbe, c.LivenessProbe, named)
				}
				if got := m.Spec.Template.Metadata.Annotations["prometheus.io/port"]; got != named["http"] {
					t.Errorf("%s is scraped at %s", m.Metadata.Name, got)
				}
			}
			var written, mounted []string
			for _, v := range c.VolumeMounts {
				mounted = append(mounted, v.MountPath)
				if !v.ReadOnly {
					written = append(written, v.MountPath)
				}
				if !slices.ContainsFunc(pod.Volumes, func(o struct{ Name string }) bool { return o.Name == v.Name }) {
					t.Errorf("%s mounts %s, which is no volume", m.Metadata.Name, v.Name)
				}
			}
			if what == "serve" && !within(cfg.API.Dir, written) {
				t.Errorf("nothing can be written in api.dir %q; %q can", cfg.API.Dir, written)
			}
			// The files of the Secret are in the environment, and the configuration takes them.
			given := map[string]string{}
			for _, e := range c.Env {
				if !within(e.Value, mounted) {
					t.Errorf("%s: %s is %s, which is in no volume", m.Metadata.Name, e.Name, e.Value)
				}
				given[e.Name] = map[string]string{"tls.crt": "CERT", "tls.key": "KEY"}[filepath.Base(e.Value)]
			}
			if want := map[string]string{"MILLRACE_API_CERT": "CERT", "MILLRACE_API_KEY": "KEY"}; what == "serve" && fmt.Sprint(given) != fmt.Sprint(want) {
				t.Errorf("serve is given %v", given)
			}
		}
	}
	if !ran["serve"] || !ran["ingest"] || !ran["transform"] || !ran["schema apply"] {
		t.Errorf("the pods run %v", ran)
	}
	// Services and budgets choose pods that there are, and ports by their names.
	for _, m := range all {
		if m.Kind != "Service" && m.Kind != "PodDisruptionBudget" {
			continue
		}
		var labels map[string]string
		var budget struct {
			Labels map[string]string `yaml:"matchLabels"`
		}
		if m.Kind == "Service" {
			_ = m.Spec.Selector.Decode(&labels)
		} else {
			_ = m.Spec.Selector.Decode(&budget)
			labels = budget.Labels
		}
		found := false
		for _, d := range all {
			if d.Kind != "Deployment" || fmt.Sprint(d.Spec.Template.Metadata.Labels) != fmt.Sprint(labels) {
				continue
			}
			found = true
			for _, p := range m.Spec.Ports {
				ok := false
				for _, own := range d.Spec.Template.Spec.Containers[0].Ports {
					ok = ok || own.Name == p.TargetPort
				}
				if !ok {
					t.Errorf("%s leads to the port %q of %s", m.Metadata.Name, p.TargetPort, d.Metadata.Name)
				}
			}
		}
		if !found {
			t.Errorf("%s %s chooses no pods: %v", m.Kind, m.Metadata.Name, labels)
		}
	}
}
