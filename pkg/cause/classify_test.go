package cause

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// row is one labelled message of testdata: what a real kubelet, containerd or CRI-O printed in the lab.
type row struct {
	From, Reason, Message, Image string
	Cause                        string
	Sandbox                      bool
}

func testdata(tb testing.TB) (rows []row) {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no testdata: %v", err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var r row
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				tb.Fatalf("%s: %s: %v", name, lines.Text(), err)
			}
			rows = append(rows, r)
		}
	}
	return rows
}

func check(t *testing.T, r row) {
	t.Helper()
	v := Classify(r.Reason, r.Message, r.Image)
	if v.Cause.String() != r.Cause || v.Sandbox != r.Sandbox && v.Cause != None {
		t.Errorf("%s [%s] %s (image %s)\n got %q sandbox %v\nwant %q sandbox %v", r.From, r.Reason, r.Message, r.Image, v.Cause, v.Sandbox, r.Cause, r.Sandbox)
	}
}

func TestClassifyLab(t *testing.T) {
	rows := testdata(t)
	if len(rows) < 100 {
		t.Fatalf("only %d messages: the testdata is not what it should be", len(rows))
	}
	for _, r := range rows {
		check(t, r)
	}
}

// TestClassifyTraps puts images into the same messages whose names are made of what the classifier looks for.
func TestClassifyTraps(t *testing.T) {
	traps := []string{
		"timeout.example/no-such-host/connection-refused:not-found",
		"docker.io/library/unauthorized:429",
		"x509.example:5000/tls/toomanyrequests:EOF",
		"denied.example/no-space-left-on-device/proxyconnect:500",
		"unauthorized", "eof", "toomanyrequests:forbidden", "forbidden:5000/denied:404",
	}
	for _, r := range testdata(t) {
		if r.Image == "" || r.Cause == "invalid_reference" {
			continue
		}
		host, rest, _ := strings.Cut(r.Image, "/")
		repo, tag := rest, ""
		if i := strings.LastIndexByte(rest, ':'); i >= 0 {
			repo, tag = rest[:i], rest[i+1:]
		}
		for _, trap := range traps {
			trapHost, trapRest, ok := strings.Cut(trap, "/")
			if !ok {
				trapHost, trapRest = "docker.io", trap
			}
			trapRepo, trapTag, ok := strings.Cut(trapRest, ":")
			if !ok {
				trapTag = "latest"
			}
			replace := strings.NewReplacer(r.Image, trap, repo+"/manifests/"+tag, trapRepo+"/manifests/"+trapTag,
				"manifests "+tag+"]", "manifests "+trapTag+"]", "reading manifest "+tag+" in", "reading manifest "+trapTag+" in", host, trapHost, repo, trapRepo)
			if len(repo) < 4 { // would be found inside of words
				continue
			}
			trapped := r
			trapped.Image, trapped.Message = trap, replace.Replace(r.Message)
			check(t, trapped)
		}
	}
}

func TestClassify(t *testing.T) {
	const pull = `Failed to pull image "r.example/a:1": `
	for _, test := range []struct {
		name, reason, message, image string
		want                         Cause
		sandbox                      bool
	}{
		{name: "nothing"},
		{name: "reason alone", reason: "ErrImagePull", want: Unknown},
		{name: "reason is the cause", reason: "ErrImageNeverPull", want: NotPresent},
		{name: "reason is the cause", reason: "InvalidImageName", message: "whatever", want: InvalidReference},
		{name: "kubelet's word for refused", reason: "RegistryUnavailable", message: "image pull failed for r.example/a:1 because the registry is unavailable", want: Connection},
		{name: "refused by CRI-O, root inside", reason: "RegistryUnavailable",
			message: `image pull failed for r.example/a:1 because the registry is unavailable: unable to pull image: pinging container registry r.example: Get "http://r.example/v2/": proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused`, want: Proxy},
		{name: "signature", reason: "SignatureValidationFailed", message: "Source image rejected: x", want: PolicyRejected},
		{name: "bare back-off", reason: "ImagePullBackOff", message: `Back-off pulling image "r.example/timeout:1"`, want: Unknown},
		{name: "back-off with the last error", reason: "ImagePullBackOff",
			message: `Back-off pulling image "r.example/a:1": ErrImagePull: rpc error: code = NotFound desc = failed to resolve reference "r.example/a:1": r.example/a:1: not found`, want: NotFound},
		{name: "free text reason", reason: "failed to record image pull intent: open /var/lib/kubelet/image_manager/pulling/x: no space left on device", want: DiskFull},
		{name: "free text reason without a cause", reason: "failed to record image pull intent: something new", want: Unknown},
		{name: "unreadable secret", reason: "invalid character 'a' looking for beginning of value", want: SecretMissing},

		// Several errors in one text.
		{name: "mirror refused, origin answers", message: pull + `(Mirrors also failed: [m.example/a:1: pinging container registry m.example: Get "https://m.example/v2/": dial tcp 10.0.0.1:443: connect: connection refused]): r.example/a:1: reading manifest 1 in r.example/a: manifest unknown`, want: NotFound},
		{name: "mirror answers, origin unresolved", message: pull + `(Mirrors also failed: [m.example/a:1: reading manifest 1 in m.example/a: manifest unknown]): r.example/a:1: pinging container registry r.example: Get "https://r.example/v2/": dial tcp: lookup r.example: no such host`, want: NotFound},
		{name: "two networks: the origin's", message: pull + `(Mirrors also failed: [m.example/a:1: Get "https://m.example/v2/": dial tcp: lookup m.example: no such host]): r.example/a:1: Get "https://r.example/v2/": dial tcp 10.0.0.1:443: connect: connection refused`, want: Connection},
		{name: "one try per credential: not the anonymous one", reason: "ErrImagePull",
			message: `[failed to resolve reference "r.example/a:1": unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 403 Forbidden, failed to resolve reference "r.example/a:1": unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 401 Unauthorized]`, want: AccessDenied},
		{name: "secret missing explains the refusal", message: `Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed. unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 401 Unauthorized`, want: SecretMissing},
		{name: "secret missing does not explain a typo", message: `Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed. r.example/a:1: not found`, want: NotFound},

		// The root and not its wrapper or its echo.
		{name: "lookup refused by the resolver", message: pull + `Head "https://r.example/v2/a/manifests/1": dial tcp: lookup r.example on [::1]:53: read udp [::1]:4242->[::1]:53: read: connection refused`, want: DNS},
		{name: "proxy unresolved is a name lookup", message: pull + `Head "https://r.example/v2/": proxyconnect tcp: dial tcp: lookup proxy.example: no such host`, want: DNS},
		{name: "CONNECT refused by the proxy", message: pull + `Get "https://r.example/v2/": Forbidden`, want: Proxy},
		{name: "the registry's own 403", message: pull + `unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 403 Forbidden`, want: AccessDenied},
		{name: "token service says 401 to known credentials", message: pull + `failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://auth.example/token: 401 Unauthorized`, want: Unauthorized},
		{name: "token service not there", message: pull + `failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.example/token: 404 Not Found`, want: RegistryError},
		{name: "dial timeout", message: pull + `Head "https://r.example/v2/": dial tcp 10.0.0.1:443: i/o timeout`, want: Connection},
		{name: "timeout of an open connection", message: pull + `Head "https://r.example/v2/": read tcp 10.0.0.2:4242->10.0.0.1:443: i/o timeout`, want: Timeout},
		{name: "redirects without end", message: pull + `Head "https://r.example/v2/a/manifests/1": stopped after 10 redirects`, want: RegistryError},
		{name: "redirect to nowhere", message: pull + `unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 302 Found`, want: RegistryError},
		{name: "headers without end", message: pull + `Head "https://r.example/v2/a/manifests/1": net/http: server response headers exceeded 10485760 bytes; aborted`, want: RegistryError},
		{name: "no token", message: pull + `failed to authorize: failed to fetch anonymous token: authorization server did not include a token in the response`, want: RegistryError},
		{name: "realm is no URL", message: pull + `invalid token auth challenge realm: parse "::": missing protocol scheme`, want: RegistryError},
		{name: "handshake timeout", message: pull + `Head "https://r.example/v2/": net/http: TLS handshake timeout`, want: TLS},
		{name: "request ended", message: pull + `Get "https://r.example/v2/": EOF`, want: Connection},
		{name: "body cut short", message: pull + `writing blob: happened during read: unexpected EOF`, want: CorruptContent},
		{name: "disk full while unpacking", message: pull + `failed to extract layer sha256:0: mount callback failed on /x: write /x/y: no space left on device: unknown`, want: DiskFull},
		{name: "local store damaged", message: pull + `failed to get reader from content store: content digest sha256:0: not found`, want: UnpackFailed},
		{name: "runtime's socket", message: `rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`, want: RuntimeUnavailable},
		{name: "cancelled", reason: "ErrImagePull", message: `rpc error: code = Canceled desc = failed to pull and unpack image "r.example/a:1": context canceled`, want: Canceled},
		{name: "waiting cancelled by a deadline", message: pull + `Get "https://r.example/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`, want: Timeout},
		{name: "status without text", message: pull + `unexpected status code https://r.example/v2/: 521`, want: RegistryError},
		{name: "JSON code", message: pull + `{"errors":[{"code":"DENIED","message":"x"}]}: response status code 418`, want: RegistryError},
		{name: "artifact only", message: `unable to pull image or OCI artifact: pull image err: provide full reference; artifact err: get manifest: dial tcp 10.0.0.1:443: connect: connection refused`, want: Connection},
		{name: "a number is no status", message: pull + `took 404 seconds`, want: Unknown},

		{name: "encrypted layer", message: pull + `failed to extract layer sha256:0: failed to get stream processor for application/vnd.oci.image.layer.v1.tar+gzip+encrypted: no processor for media-type: unknown`, want: UnsupportedFormat},
		{name: "Windows of another build", message: pull + `a Windows version 10.0.20348-based image is incompatible with a 10.0.17763 host`, want: PlatformMismatch},
		{name: "blob gone", message: pull + `download failed after attempts=6: unknown blob`, want: NotFound},
		{name: "proxy in curl's words", message: pull + `Received HTTP code 502 from proxy after CONNECT`, want: Proxy},

		// Sandbox images.
		{name: "sandbox image", reason: "FailedCreatePodSandBox", sandbox: true, want: NotFound,
			message: `Failed to create pod sandbox: rpc error: code = NotFound desc = failed to get sandbox image "r.example/pause:1": failed to pull image "r.example/pause:1": r.example/pause:1: not found`},
		{name: "sandbox image by CRI-O", reason: "FailedCreatePodSandBox", sandbox: true, want: TLS,
			message: `Failed to create pod sandbox: rpc error: code = Unknown desc = creating pod sandbox with name "k8s_a": initializing source docker://r.example/pause:1: pinging container registry r.example: Get "https://r.example/v2/": http: server gave HTTP response to HTTPS client`},
		{name: "network plugin", reason: "FailedCreatePodSandBox",
			message: `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "0": plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized`},
		{name: "sandbox without an image in it", reason: "FailedCreatePodSandBox", message: `Failed to create pod sandbox: rpc error: code = DeadlineExceeded desc = context deadline exceeded`},

		// Images that are called what the classifier looks for, where no quotes show it.
		{name: "pull NAME", message: `Error: unable to pull toomanyrequests: 1 error occurred: read tcp 10.0.0.2:46000->10.0.0.1:443: read: connection reset by peer`, want: Connection},
		{name: "image=NAME", message: `fetch failed error=failed to do request: Head "https://r.example/v2/": dial tcp: lookup r.example: no such host host=r.example image=unauthorized`, want: DNS},
		{name: "repository: NAME", message: `reading manifest latest in eof: unauthorized: unauthorized to access repository: toomanyrequests, action: pull`, want: Unauthorized},

		// What is no pull at all.
		{name: "crash", reason: "CrashLoopBackOff", message: "back-off 5m0s restarting failed container=a pod=b"},
		{name: "crash, as an event", reason: "BackOff", message: "Back-off restarting failed container a in pod b"},
		{name: "create while the runtime restarts", reason: "CreateContainerError", message: `rpc error: code = Unavailable desc = error reading from server: EOF`},
		{name: "probe", message: `Readiness probe failed: Get "http://10.0.0.1:8080/": dial tcp 10.0.0.1:8080: connect: connection refused`},
		{name: "mount", reason: "FailedMount", message: `MountVolume.SetUp failed for volume "v" : secret "regcred" not found`},
		{name: "secret of an env", reason: "CreateContainerConfigError", message: `secret "unauthorized" not found`},
		{name: "secret of an env, no reason", message: `Error: secret "regcred" not found`},
		{name: "start", reason: "Failed", message: `Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: "x": executable file not found in $PATH: unknown`},
		{name: "start out of space", reason: "Failed", message: `Error: failed to start container "x": write /proc/self/attr/keycreate: no space left on device`},
		{name: "wrong platform runs into this", message: "exec /app: exec format error"},
		{name: "pulled", reason: "Pulled", message: `Successfully pulled image "r.example/timeout:1" in 1s`},
		{name: "pulled, no reason", message: `Successfully pulled image "r.example/timeout:1" in 1s (1s including waiting)`},
		{name: "scheduling", message: "0/3 nodes are available: 3 node(s) had untolerated taint {timeout: }"},

		// Images that are whole sentences are no valid names, and may say anything.
		{name: "sentence as an image", reason: "InspectFailed", image: "nginx no space left on device", want: InvalidReference,
			message: `Failed to apply default image tag "nginx no space left on device": couldn't parse image name "nginx no space left on device": invalid reference format`},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, row{test.name, test.reason, test.message, test.image, test.want.String(), test.sandbox})
		})
	}
}

func TestScopeOfSandbox(t *testing.T) {
	v := Verdict{Cause: NotFound, Sandbox: true}
	if got := v.Scope(); got != ScopeNode {
		t.Errorf("a sandbox image that cannot be pulled has scope %q, want node: it blocks every pod", got)
	}
	if got := (Verdict{Cause: NotFound}).Scope(); got != ScopeWorkload {
		t.Errorf("not_found has scope %q, want workload", got)
	}
}

func TestClassifyAllocatesNothing(t *testing.T) {
	rows := testdata(t)
	if n := testing.AllocsPerRun(10, func() {
		for i := range rows {
			Classify(rows[i].Reason, rows[i].Message, rows[i].Image)
		}
	}); n > 0 {
		t.Errorf("%v allocations over %d messages, want none", n, len(rows))
	}
}

// TestClassifyLongMessages would not end in the time of a test if a hostile message cost much more than its length.
func TestClassifyLongMessages(t *testing.T) {
	for _, unit := range []string{"a ", "not ", "4", "dial tcp: lookup ", `"`, `\`, "500 ", "image eof ", "permission \""} {
		Classify("ErrImagePull", strings.Repeat(unit, 1<<20/len(unit)), "image eof ")
	}
}

func FuzzClassify(f *testing.F) {
	for _, r := range testdata(f) {
		f.Add(r.Reason, r.Message, r.Image)
	}
	f.Fuzz(func(t *testing.T, reason, message, image string) {
		v := Classify(reason, message, image)
		if again := Classify(reason, message, image); again != v {
			t.Errorf("%v, then %v", v, again)
		}
		if (reason == "ErrImagePull" || reason == "ImagePullBackOff") && v.Cause == None {
			t.Errorf("a failed pull without a cause: %q", message)
		}
		if v.Cause != None && v.Scope() == "" {
			t.Errorf("%v has no scope", v.Cause)
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	rows := testdata(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i := range rows {
			Classify(rows[i].Reason, rows[i].Message, rows[i].Image)
		}
		n += len(rows)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
}
