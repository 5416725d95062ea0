package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"millrace/internal/porttest"

	"github.com/twmb/franz-go/pkg/kfake"
)

// toxiproxy is a proxy, of its own project, that does to connections what networks do.
type toxiproxy struct {
	t   *testing.T
	url string
}

func startToxiproxy(t *testing.T) *toxiproxy {
	t.Helper()
	installed, err := filepath.Glob("../.tools/bin/toxiproxy-server-*")
	if err != nil {
		t.Fatal(err)
	}
	program := needs(t, "toxiproxy-server", "`make tools` installs it under .tools", installed...)
	host, port, _ := net.SplitHostPort(porttest.TCP(t))
	cmd := exec.Command(program, "-host", host, "-port", port)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=error")
	runRelay(t, cmd)
	x := &toxiproxy{t, "http://" + net.JoinHostPort(host, port)}
	until(t, "toxiproxy answers", func() bool {
		res, err := http.Get(x.url + "/version")
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	}, func() string { return "connection refused" })
	return x
}

// call asks for something and returns the answer's field "listen".
func (x *toxiproxy) call(method, path string, body any) (listen string) {
	x.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		x.t.Fatal(err)
	}
	req, err := http.NewRequest(method, x.url+path, bytes.NewReader(text))
	if err != nil {
		x.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		x.t.Fatalf("toxiproxy: %s %s: %s, %v: %s", method, path, res.Status, err, answer)
	}
	var proxy struct{ Listen string }
	_ = json.Unmarshal(answer, &proxy) // a deletion is answered by nothing
	return proxy.Listen
}

// proxy puts a proxy before address.
func (x *toxiproxy) proxy(name, address string) (listen string) {
	x.t.Helper()
	return x.call(http.MethodPost, "/proxies", map[string]any{"name": name, "listen": "127.0.0.1:0", "upstream": address, "enabled": true})
}

// toxic is one of toxiproxy's, as bad as r wants it.
type toxic struct {
	kind       string
	attributes func(r *rand.Rand) map[string]int
}

var toxics = []toxic{
	{"latency", func(r *rand.Rand) map[string]int { return map[string]int{"latency": 100 + r.IntN(400), "jitter": 100} }},
	{"bandwidth", func(r *rand.Rand) map[string]int { return map[string]int{"rate": 5 + r.IntN(50)} }}, // KB/s
	{"reset_peer", func(r *rand.Rand) map[string]int { return map[string]int{"timeout": r.IntN(300)} }},
	{"timeout", func(r *rand.Rand) map[string]int { return map[string]int{"timeout": r.IntN(500)} }}, // 0: nothing moves
	{"slicer", func(r *rand.Rand) map[string]int {
		return map[string]int{"average_size": 50 + r.IntN(200), "size_variation": 40, "delay": 100} // bytes, and microseconds
	}},
	{"limit_data", func(r *rand.Rand) map[string]int { return map[string]int{"bytes": 500 + r.IntN(20_000)} }},
	{"slow_close", func(r *rand.Rand) map[string]int { return map[string]int{"delay": 500 + r.IntN(1000)} }},
}

// proxied is a listener that is known by the address of the proxy before it.
type proxied struct {
	net.Listener
	address net.Addr
}

func (l proxied) Addr() net.Addr { return l.address }

// TestFault_Toxics puts toxiproxy between all daemons and Kafka, and between the
// transformers and ClickHouse. One toxic after the other works on either side, in both
// directions, under load: the answers are late, in pieces, cut off or never come.
func TestFault_Toxics(t *testing.T) {
	t.Parallel()
	lasts := minutes(t, "MILLRACE_FAULT_MINUTES", 0)
	begin := time.Now()
	seed := uint64(begin.UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	x := startToxiproxy(t)
	brokers := 0
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(topicPartitions, topics...), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		brokers++
		known, err := net.ResolveTCPAddr("tcp", x.proxy(fmt.Sprintf("kafka-%d", brokers), l.Addr().String()))
		return proxied{l, known}, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s := siteOptions{
		kafka:      quickMembers + "sticky_bytes: 64KiB, request_timeout: 3s, brokers: [" + cluster.ListenAddrs()[0] + "]",
		clickHouse: "insert_timeout: 1s", sections: "transform: {block_age: 200ms}\n",
		front: func(address string) string { return x.proxy("clickhouse", address) },
	}.start(t)
	p := s.underLoad(s.transformer(), s.transformer())
	for n := 0; n < len(toxics) || time.Since(begin) < lasts; n++ {
		at := time.Now()
		// Another one on each side, so that each has had each when all are through twice.
		on := map[string]toxic{"kafka-1": toxics[n%len(toxics)], "clickhouse": toxics[(n+1+n/len(toxics))%len(toxics)]}
		for proxy, x2 := range on {
			for _, stream := range []string{"upstream", "downstream"} {
				x.call(http.MethodPost, "/proxies/"+proxy+"/toxics", map[string]any{"name": stream, "type": x2.kind, "stream": stream, "toxicity": 1, "attributes": x2.attributes(r)})
			}
		}
		time.Sleep(1500 * time.Millisecond) // nothing need come through meanwhile
		for proxy := range on {
			for _, stream := range []string{"upstream", "downstream"} {
				x.call(http.MethodDelete, "/proxies/"+proxy+"/toxics/"+stream, nil)
			}
		}
		s.grown(200)
		t.Logf("%s towards Kafka, %s towards ClickHouse: %v", on["kafka-1"].kind, on["clickhouse"].kind, time.Since(at).Round(100*time.Millisecond))
	}
	p.end()
}
