// Package webtest makes states of nodes for tests of the page.
package webtest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/health"
	"github.com/pullwatch/pullwatch/internal/history"
	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/web"
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

// Now is when the states are looked at.
var Now = time.Date(2026, 11, 23, 3, 12, 7, 0, time.UTC)

func ago(d time.Duration) time.Time { return Now.Add(-d) }

var seen = web.Seen{At: ago(4 * time.Second)}

// Well is a node on which nothing is wrong.
func Well() web.State {
	s := web.State{
		Now: Now, Node: "worker-17.eu-central-1.example.com", Version: "0.5.0", Started: ago(50 * time.Hour),
		Runtime: web.Runtime{
			Seen: seen, Endpoint: "unix:///run/containerd/containerd.sock", Name: "containerd", Version: "2.1.4", Up: true, Ready: true,
			Images: 300, ImagesSeen: web.Seen{At: ago(31 * time.Second)},
		},
		Conditions: web.Conditions{
			Seen: seen, Written: true, Kubelet: "v1.34.4", OSImage: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0-30-amd64", Processor: "amd64",
			OnNode: []kube.Condition{
				{Type: "MemoryPressure", Status: "False", Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available", Since: ago(50 * time.Hour)},
				{Type: "DiskPressure", Status: "False", Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure", Since: ago(50 * time.Hour)},
				{Type: "PIDPressure", Status: "False", Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available", Since: ago(50 * time.Hour)},
				{Type: "Ready", Status: "True", Reason: "KubeletReady", Message: "kubelet is posting ready status", Since: ago(50 * time.Hour)},
			},
			Judged: []health.Verdict{
				{Type: health.ContainerRuntimeUnavailable, Reason: "ContainerRuntimeAnswers", Message: "the container runtime answers and is ready", Since: ago(50 * time.Hour)},
				{Type: health.ImagePullFailing, Reason: "ImagesCanBePulled", Message: "no image pull fails for which this node is to blame", Since: ago(50 * time.Hour)},
				{Type: health.RegistryUnreachable, Reason: "RegistriesReachable", Message: "2 of 2 established registries are reached", Since: ago(50 * time.Hour)},
			},
		},
		Failures:   web.Failures{Seen: web.Seen{At: Now}},
		Registries: web.Registries{Seen: seen, List: []web.Registry{Reached("docker.io"), Reached("ghcr.io")}},
	}
	return s
}

// Loaded is a node with 300 images and 110 pods, 20 of which fail, and with 20 registries, three of which are not reached. Not the node is to
// blame.
func Loaded() web.State {
	s := Well()
	causes := []cause.Cause{cause.NotFound, cause.Unauthorized, cause.PlatformMismatch, cause.RateLimited, cause.DNS, cause.NotFound, cause.SecretMissing}
	for i := range 20 {
		c := causes[i%len(causes)]
		image := fmt.Sprintf("registry-%02d.example.com/team-%d/payment-service-%d:2026.11.%d", i, i%5, i, i)
		s.Failures.List = append(s.Failures.List, Failing(fmt.Sprintf("team-%d", i%5), fmt.Sprintf("payment-service-%d-7d9c6b5f4-x%dk2p", i, i), image, c,
			"rpc error: code = Unknown desc = failed to pull and unpack image \""+image+"\": failed to resolve reference \""+image+
				"\": pulling from host registry.example.com failed with status code [manifests "+image+"]: "+c.Title()))
	}
	pulls.Sort(s.Failures.List)
	s.Registries.List = nil
	for i := range 20 {
		name := fmt.Sprintf("registry-%02d.example.com", i)
		switch i {
		case 4:
			s.Registries.List = append(s.Registries.List, Unresolved(name))
		case 9:
			s.Registries.List = append(s.Registries.List, Mirrored(name))
		case 11, 12:
			s.Registries.List = append(s.Registries.List, Expired(name))
		default:
			s.Registries.List = append(s.Registries.List, Reached(name))
		}
	}
	s.Conditions.Judged[2].Reason = "NodeNotAtFault"
	s.Conditions.Judged[2].Message = "17 of 20 established registries are reached, and nothing shows this node to be why the others are not: " +
		"registry-04.example.com (dns), registry-11.example.com (tls, expired), registry-12.example.com (tls, expired)"
	var past history.Ring
	for i := range 60 {
		at := ago(time.Duration(60-i) * time.Minute)
		name := fmt.Sprintf("registry-%02d.example.com", i%20)
		past.Add(history.Entry{Of: history.OfRegistry, Subject: name, Failed: i%3 == 0, Text: "reached, https://" + name + "/v2 serves"}, at, false)
		f := &s.Failures.List[i%20]
		past.Add(history.Entry{Of: history.OfPull, Subject: f.Namespace + "/" + f.Pod, Failed: i%2 == 0, Text: "cannot pull " + f.Image + ": " + f.Cause.String()}, at, true)
	}
	s.History = past.Entries()
	return s
}

// AtFault is a node that is to blame: its resolver answers nothing.
func AtFault() web.State {
	s := Well()
	s.Registries.List = []web.Registry{Unresolved("docker.io"), Unresolved("ghcr.io"), Unresolved("registry.example.com")}
	s.Conditions.Judged[2] = health.Verdict{
		Type: health.RegistryUnreachable, True: true, Reason: "NameResolutionFails", Since: ago(5 * time.Minute),
		Message: "this node resolves no name of a registry or of its proxy (3 of 3 established registries: docker.io (dns), ghcr.io (dns), " +
			"registry.example.com (dns)): look at /etc/resolv.conf and the name servers in it",
	}
	s.Conditions.Judged[1] = health.Verdict{
		Type: health.ImagePullFailing, True: true, Reason: "DNS", Since: ago(3 * time.Minute),
		Message: "The registry's name cannot be resolved (dns) at docker.io: 2 waiting",
	}
	s.Failures.List = []pulls.Failure{
		Failing("shop", "web-6f8d9c-x2x4p", "docker.io/library/nginx:1.29", cause.DNS,
			`failed to pull and unpack image "docker.io/library/nginx:1.29": failed to resolve reference "docker.io/library/nginx:1.29": `+
				`failed to do request: Head "https://registry-1.docker.io/v2/library/nginx/manifests/1.29": dial tcp: lookup registry-1.docker.io: i/o timeout`),
		Failing("shop", "cart-5b7d8-m9w2z", "docker.io/library/redis:8", cause.DNS,
			`failed to pull and unpack image "docker.io/library/redis:8": failed to resolve reference "docker.io/library/redis:8": `+
				`failed to do request: Head "https://registry-1.docker.io/v2/library/redis/manifests/8": dial tcp: lookup registry-1.docker.io: i/o timeout`),
		Failing("tools", "debug-shell", "docker.io/library/alpnie:3", cause.NotFound,
			`failed to pull and unpack image "docker.io/library/alpnie:3": failed to resolve reference "docker.io/library/alpnie:3": not found`),
	}
	var past history.Ring
	past.Add(history.Entry{Of: history.OfPull, Subject: "tools/debug-shell main", Failed: true, Text: "cannot pull docker.io/library/alpnie:3: The registry has no such image (not_found)"}, ago(40*time.Minute), true)
	for _, r := range s.Registries.List {
		past.Add(history.Entry{Of: history.OfRegistry, Subject: r.Registry.Registry, Text: "reached, https://" + r.Registry.Registry + "/v2 serves"}, ago(12*time.Minute), false)
	}
	for i := range 4 {
		for _, r := range s.Registries.List {
			past.Add(history.Entry{Of: history.OfRegistry, Subject: r.Registry.Registry, Failed: true, Text: "NOT reached: The registry's name cannot be resolved (dns)"}, ago(7*time.Minute-time.Duration(i)*90*time.Second), false)
		}
	}
	past.Add(history.Entry{Of: history.OfCondition, Subject: "RegistryUnreachable", Failed: true, Text: "True, NameResolutionFails: this node resolves no name of a registry or of its proxy"}, ago(5*time.Minute), false)
	s.History = past.Entries()
	return s
}

// WithDisk adds filesystems, one of them over a threshold.
func WithDisk(s web.State) web.State {
	s.Disk = &web.Disk{
		Seen: seen, HighPercent: 85, LowPercent: 80, ReclaimableBytes: 12_400_000_000, WantedBytes: 6_100_000_000,
		Forecast: "At the rate of the last hour imagefs is full in 5h40m.",
		Filesystems: []web.Filesystem{
			{Name: "nodefs", Roles: []string{"pods", "logs"}, Mountpoint: "/", SizeBytes: 107e9, AvailableBytes: 61e9, UsedPercent: 43, InodesPercent: 12,
				Thresholds: []web.Threshold{{What: "eviction", UsedPercent: 90, Source: "kubelet"}}},
			{Name: "imagefs", Roles: []string{"images"}, Mountpoint: "/var/lib/containerd", SizeBytes: 53.7e9, AvailableBytes: 6.4e9, UsedPercent: 88, InodesPercent: 31,
				Thresholds: []web.Threshold{{What: "collection of images", UsedPercent: 85, Source: "kubelet"}, {What: "eviction", UsedPercent: 95, Source: "assumed"}}},
		},
	}
	return s
}

// Evil are texts that a tenant or a registry might choose to harm who reads the page.
var Evil = []string{
	`<script>alert(1)</script>`, `"><img src=http://evil.test/a onerror=alert(2)>`, `'-alert(3)-'`, `{{.Style}}{{printf "%s" "x"}}`,
	"gnp.\u202egpj\u2066\u200b\ufeff", "\x1b[2J\x00\u009b31m", `</title></style><svg/onload=alert(4)>`, `javascript:alert(5)`,
	`<meta http-equiv=refresh content="0;url=http://evil.test/">`, `<base href=http://evil.test/>`, "a\xffb", strings.Repeat("x", 2000), strings.Repeat("<&\"'", 500),
}

// Hostile is a node where everything that others choose is chosen to harm, as long as it gets.
func Hostile() web.State {
	s := WithDisk(Loaded())
	for i, evil := range Evil {
		f := Failing(evil, evil, evil, cause.Connection, evil)
		f.Container, f.Reason, f.Registry = evil, evil, evil
		if s.Failures.Logins == nil {
			s.Failures.Logins = make(map[int][]keyring.Outcome)
		}
		s.Failures.Logins[len(s.Failures.List)] = []keyring.Outcome{
			{Secret: evil, Result: keyring.NoEntry, Hosts: []string{evil}}, {Secret: evil, Result: keyring.NotKnown, Error: evil},
		}
		s.Failures.List = append(s.Failures.List, f)
		r := Mirrored(evil)
		r.Findings = []registries.Finding{{File: evil, Line: 3, Text: evil, Effect: evil}}
		r.Warnings, r.NotChecked = []string{evil}, evil
		for _, e := range r.Endpoints {
			e.URL, e.Error, e.Warnings = evil, evil, []string{evil}
			e.Phases.TCP.Error, e.Phases.TLS.Issuer, e.Phases.HTTP.Final = evil, evil, evil
			e.Phases.TLS.Phase, e.Phases.HTTP.Phase = passed(1), passed(1)
		}
		s.Registries.List = append(s.Registries.List, r)
		s.Conditions.OnNode = append(s.Conditions.OnNode, kube.Condition{Type: evil, Status: evil, Reason: evil, Message: evil})
		s.History = append([]history.Entry{{Of: history.OfPull, Subject: evil, Text: evil, First: Now, Last: Now, Count: 2}}, s.History...)
		s.Disk.Filesystems[i%2].Mountpoint, s.Disk.Filesystems[i%2].Roles = evil, []string{evil}
	}
	s.Node, s.Version, s.Runtime.Reason, s.Runtime.Error, s.Disk.Forecast = Evil[0], Evil[1], Evil[2], Evil[6], Evil[7]
	return s
}

// Failing is a container that waits.
func Failing(namespace, pod, image string, c cause.Cause, message string) pulls.Failure {
	return pulls.Failure{
		Namespace: namespace, Pod: pod, Container: "main", Kind: kube.KindContainer, Image: image, Registry: pulls.Registry(image),
		Reason: "ImagePullBackOff", Message: message, Cause: c, Basis: pulls.BasisText, Scope: c.Scope(), Since: ago(7 * time.Minute), SinceFrom: pulls.Observed,
		Attempts: 6, AttemptsFrom: pulls.Observed, NextTry: Now.Add(93 * time.Second), NextTryFrom: pulls.Observed, Advice: c.Advice(),
	}
}

func passed(milliseconds float64) probe.Phase {
	return probe.Phase{State: probe.Passed, Seconds: milliseconds / 1000}
}

func failed(milliseconds float64, text string) probe.Phase {
	return probe.Phase{State: probe.Failed, Seconds: milliseconds / 1000, Error: text}
}

func answering(url string) *probe.Report {
	yes := true
	r := &probe.Report{URL: url, At: ago(80 * time.Second), OK: &yes, Seconds: .06}
	address := netip.MustParseAddr("192.0.2.17")
	r.Phases.DNS = probe.DNS{Phase: passed(2.1), IPv4: []netip.Addr{address}}
	r.Phases.TCP = probe.TCP{Phase: passed(11), Dials: []probe.Dial{{Address: netip.AddrPortFrom(address, 443), Phase: passed(11)}}}
	r.Phases.TLS = probe.TLS{Phase: passed(23), Version: "TLS 1.3", Issuer: "R11", NotAfter: Now.AddDate(0, 2, 3)}
	r.Phases.HTTP = probe.HTTP{Phase: passed(14), Status: 401, Challenge: "bearer"}
	r.Phases.Token = probe.Token{Phase: passed(9), URL: url[:len(url)-len("/v2")] + "/token", Anonymous: &yes}
	return r
}

func registry(name string, ok bool, endpoints ...*probe.Report) web.Registry {
	r := &probe.Registry{Registry: name, OK: &ok, At: ago(80 * time.Second), Endpoints: endpoints}
	if ok {
		r.Serving = endpoints[len(endpoints)-1].URL
	} else {
		r.Cause = endpoints[len(endpoints)-1].Cause
	}
	return web.Registry{Registry: r, Established: true, LastSuccess: ago(12 * time.Minute)}
}

// Reached is a registry that serves.
func Reached(name string) web.Registry { return registry(name, true, answering("https://"+name+"/v2")) }

// Unresolved is one whose name is not resolved.
func Unresolved(name string) web.Registry {
	no := false
	e := &probe.Report{URL: "https://" + name + "/v2", At: ago(80 * time.Second), OK: &no, Cause: cause.DNS, Phase: probe.PhaseDNS}
	e.Phases.DNS = probe.DNS{Phase: failed(5003, "lookup "+name+" on 10.96.0.10:53: read udp 10.0.0.4:51111->10.96.0.10:53: i/o timeout")}
	return registry(name, false, e)
}

// Expired is one whose certificate has ended.
func Expired(name string) web.Registry {
	no := false
	e := answering("https://" + name + "/v2")
	e.OK, e.Cause, e.Phase = &no, cause.TLS, probe.PhaseTLS
	e.Phases.TLS = probe.TLS{Phase: failed(21, "tls: failed to verify certificate: x509: certificate has expired"), Fault: probe.Expired, Issuer: "R11", NotAfter: Now.AddDate(0, 0, -1)}
	e.Phases.HTTP, e.Phases.Token = probe.HTTP{}, probe.Token{}
	return registry(name, false, e)
}

// Mirrored is one that serves behind a mirror that is dead.
func Mirrored(name string) web.Registry {
	no := false
	dead := &probe.Report{URL: "http://10.0.9.9:5000/v2", At: ago(80 * time.Second), OK: &no, Cause: cause.Connection, Phase: probe.PhaseTCP}
	dead.Phases.TCP = probe.TCP{Phase: failed(.4, "dial tcp 10.0.9.9:5000: connect: connection refused")}
	r := registry(name, true, dead, answering("https://"+name+"/v2"))
	r.Warnings = []string{"http://10.0.9.9:5000/v2 does not serve (connection) and is asked before https://" + name + "/v2: every pull waits for it, less than 10ms each time"}
	return r
}
