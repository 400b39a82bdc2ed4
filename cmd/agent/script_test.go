package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/pullwatch/pullwatch/internal/kube/kubetest"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

// The scripts in testdata/script are the specification of the program. What they may say beside testscript's own commands:
//
//	code N PROGRAM ARGS...          runs the program, which must exit with N
//	until N PATTERN PROGRAM ARGS... the same again and again until it exits with N and its output matches, 20 s at most
//	nosecret                        the last output shows no secret (code and until see to that by themselves)
//	runtime start [FLAVOR]          starts a fake container runtime, $RUNTIME is its endpoint (not yet exported to the program)
//	runtime stop|refuse|restart|hang|wake|rubbish|unready|hostile
//	runtime fail METHOD             has a call of the CRI fail
//	runtime slow IMAGE DURATION     has a pull take so long
//	container NS/POD NAME IMAGE running|exited|created AGE [ATTEMPT]   a container on the fake runtime, made so long ago
//	registry start healthy|down|tokendown  starts a registry on loopback, $REGISTRY is its address and $REGISTRY_BEFORE that of the one before
//	registry start image BYTES      starts one that has every image, for linux/amd64, with one layer said to be so large
//	api start                       starts a fake API server with the node node-a and exports KUBECONFIG
//	api down|up|unauthorized|rubbish|forbid RESOURCE|allow RESOURCE|pressure|architecture ARCH
//	pod NS/NAME IMAGE [REASON [MESSAGE]]   a pod of node-a that waits; its container is called app. $'...' escapes are read in all
//	pod NS/NAME IMAGE running|gone
//	apply FILE                      creates a Pod, Node or Event from YAML
//	certificate                     writes cert.pem and key.pem
//	lines N TEXT FILE               writes a line of N bytes and one with TEXT
//	term [INT]                      sends SIGTERM (or SIGINT) to what runs in the background
//
// Programs beside pullwatch: `http [-u USER:PASS] [-k] [-s SOCKET] URL` prints the status and then the body; `unprivileged PROGRAM ARGS...`
// runs it as a user without root's power over files.
//
// Each script has a short directory of its own, $RUN, for sockets; $PULLWATCH_SOCKET is in it and $ADDRESS is free to listen on.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": codeCommand, "until": untilCommand, "nosecret": func(ts *testscript.TestScript, _ bool, _ []string) { noSecret(ts) },
			"runtime": runtimeCommand, "container": containerCommand, "registry": registryCommand, "api": apiCommand, "pod": podCommand, "apply": applyCommand, "certificate": certificateCommand, "lines": linesCommand, "term": termCommand,
		},
	})
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pullwatch":    main,
		"http":         httpProgram,
		"unprivileged": unprivilegedProgram,
	})
}

type stage struct {
	runtime *critest.Runtime
	api     *kubetest.Server
}

type stageKey struct{}

var scripts atomic.Int32

func setup(env *testscript.Env) error {
	run, err := os.MkdirTemp("", "pw") // a socket's path is short
	if err != nil {
		return err
	}
	// An address of its own for each script: no other takes the port between now and then.
	host := fmt.Sprintf("127.0.77.%d", scripts.Add(1))
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return err
	}
	s := &stage{}
	env.Values[stageKey{}] = s
	env.Defer(func() {
		if s.runtime != nil {
			s.runtime.Stop()
		}
		if s.api != nil {
			s.api.Close()
		}
		os.RemoveAll(run)
	})
	own := filepath.Join(run, "own.yaml") // so that no file of this machine is read
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		return err
	}
	env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector would hold each program for a second when it ends
	env.Setenv("RUN", run)
	env.Setenv("ADDRESS", l.Addr().String())
	env.Setenv("NODE_NAME", "node-a")
	env.Setenv("PULLWATCH_PAGE_ADDRESS", "")
	env.Setenv("PULLWATCH_PROBE_INTERVAL", "0") // the images of the fake are of registries that no test may ask
	env.Setenv("PULLWATCH_SOCKET", filepath.Join(run, "a.sock"))
	env.Setenv("PULLWATCH_CONFIG_FILE", own)
	env.Setenv("CONTAINER_RUNTIME_ENDPOINT", "unix://"+filepath.Join(run, "none.sock"))
	env.Setenv("RUNTIME", "unix://"+filepath.Join(run, "cri.sock"))
	return l.Close()
}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

// perform runs a program and gives its exit code.
func perform(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
	default:
		ts.Fatalf("%v", err)
	}
	noSecret(ts)
	output := ts.ReadFile("stderr")
	if strings.Contains(output, "goroutine ") || strings.Contains(output, "panic:") {
		ts.Fatalf("a stack trace:\n%s", output)
	}
	if exit != nil {
		return exit.ExitCode()
	}
	return 0
}

func noSecret(ts *testscript.TestScript) {
	for _, stream := range []string{"stdout", "stderr"} {
		for _, secret := range []string{kubetest.Token, critest.Secret, "p4ssw0rd-marker"} {
			if strings.Contains(ts.ReadFile(stream), secret) {
				ts.Fatalf("%s shows the secret %s", stream, secret)
			}
		}
	}
}

func codeCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := perform(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d\n[stdout]\n%s[stderr]\n%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func untilCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: until N PATTERN PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := perform(ts, args[2:])
		output := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if got == want && pattern.MatchString(output) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not in 20 s: exit code %d and %q; the last was %d and\n%s", want, args[1], got, output)
		}
	}
}

func runtimeCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := stageOf(ts)
	if args[0] == "start" {
		flavor := critest.Containerd16
		if len(args) > 1 {
			flavor = critest.Flavor(args[1])
		}
		s.runtime = critest.New(flavor)
		ts.Check(s.runtime.Serve(strings.TrimPrefix(ts.Getenv("RUNTIME"), "unix://")))
		return
	}
	switch args[0] {
	case "stop":
		s.runtime.Stop()
	case "refuse":
		s.runtime.Refuse()
	case "restart":
		ts.Check(s.runtime.Restart())
	case "hang":
		s.runtime.SetHang(true)
	case "wake":
		s.runtime.SetHang(false)
	case "rubbish":
		s.runtime.SetRubbish([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
	case "unready":
		s.runtime.SetCondition("RuntimeReady", false, "Broken", "no shim")
	case "disk": // where it keeps images
		s.runtime.SetImageFs(&runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{
			FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: args[1]}, UsedBytes: &runtimeapi.UInt64Value{Value: 4 << 20},
		}}})
	case "hostile":
		makeHostile(s.runtime)
	case "fail":
		s.runtime.SetAnswer(args[1], nil, status.Error(codes.Internal, "the store is locked"))
	case "slow":
		took, err := time.ParseDuration(args[2])
		ts.Check(err)
		s.runtime.SetPull(args[1], critest.Pull{Took: took, Text: "never done"})
	default:
		ts.Fatalf("runtime %s: no such command", args[0])
	}
}

func apiCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := stageOf(ts)
	switch args[0] {
	case "start":
		api, err := kubetest.New()
		ts.Check(err)
		api.SetNode(kubetest.NewNode("node-a"))
		kubeconfig, err := api.Kubeconfig(ts.Getenv("RUN"))
		ts.Check(err)
		s.api = api
		ts.Setenv("KUBECONFIG", kubeconfig)
		ts.Setenv("API", api.URL())
	case "down":
		s.api.Down()
	case "up":
		ts.Check(s.api.Up())
	case "unauthorized":
		s.api.SetUnauthorized(true)
	case "rubbish":
		s.api.SetRubbish([]byte("<html>sign in</html>"))
	case "forbid":
		s.api.Forbid(args[1])
	case "allow":
		s.api.Allow(args[1])
	case "pressure":
		node := kubetest.NewNode("node-a")
		node.Status.Conditions[0].Status, node.Status.Conditions[0].Reason = corev1.ConditionTrue, "KubeletHasDiskPressure"
		s.api.SetNode(node)
	case "architecture":
		node := kubetest.NewNode("node-a")
		node.Status.NodeInfo.Architecture = args[1]
		s.api.SetNode(node)
	default:
		ts.Fatalf("api %s: no such command", args[0])
	}
}

// unescape reads \x1b, \u202e and the like.
func unescape(ts *testscript.TestScript, text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	ts.Check(err)
	return out
}

func podCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: pod NS/NAME IMAGE [REASON [MESSAGE]]")
	}
	namespace, name, _ := strings.Cut(args[0], "/")
	pod := kubetest.NewPod("node-a", namespace, name, "app", unescape(ts, args[1]))
	switch {
	case len(args) == 2:
	case args[2] == "gone":
		stageOf(ts).api.DeletePod(namespace, name)
		return
	case args[2] == "running":
		pod = kubetest.Running(pod)
	default:
		message := ""
		if len(args) > 3 {
			message = unescape(ts, args[3])
		}
		pod = kubetest.Waiting(pod, args[2], message)
	}
	stageOf(ts).api.SetPod(pod)
}

func applyCommand(ts *testscript.TestScript, _ bool, args []string) {
	text := []byte(ts.ReadFile(args[0]))
	var kind metav1.TypeMeta
	ts.Check(yaml.Unmarshal(text, &kind))
	api := stageOf(ts).api
	switch kind.Kind {
	case "Pod":
		var pod corev1.Pod
		ts.Check(yaml.UnmarshalStrict(text, &pod))
		api.SetPod(&pod)
	case "Event":
		var event corev1.Event
		ts.Check(yaml.UnmarshalStrict(text, &event))
		api.AddEvent(&event)
	default:
		ts.Fatalf("%s: kind %q", args[0], kind.Kind)
	}
}

func linesCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	line := `{"message": "` + strings.Repeat("x", n) + `"}` + "\n" + args[1] + "\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(line), 0o600))
}

func termCommand(ts *testscript.TestScript, _ bool, args []string) {
	signal := os.Signal(syscall.SIGTERM)
	if len(args) > 0 {
		signal = os.Interrupt
	}
	for _, cmd := range ts.BackgroundCmds() {
		if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			ts.Fatalf("%v", err)
		}
	}
}

func certificateCommand(ts *testscript.TestScript, _ bool, _ []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node-a"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(block), 0o600))
	}
}

// httpProgram asks once, and prints the status and the body. It exits 1 where there is no answer.
func httpProgram() {
	args := os.Args[1:]
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{}}
	user := ""
	for len(args) > 1 {
		switch args[0] {
		case "-k":
			transport.TLSClientConfig.InsecureSkipVerify = true
			args = args[1:]
			continue
		case "-u":
			user = args[1]
		case "-s":
			socket := args[1]
			transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }
		}
		args = args[2:]
	}
	request, err := http.NewRequest(http.MethodGet, args[0], nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	if name, password, ok := strings.Cut(user, ":"); ok {
		request.SetBasicAuth(name, password)
	}
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("%d\n%s", response.StatusCode, bytes.TrimLeft(body, "\n"))
}

// unprivilegedProgram runs a program without root's right to pass over the modes of files. A user who has no such right needs nothing.
func unprivilegedProgram() {
	runtime.LockOSThread()
	if os.Geteuid() == 0 {
		for _, right := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, right, 0, 0, 0); err != nil {
				fmt.Fprintln(os.Stderr, "drop a capability:", err)
				os.Exit(3)
			}
		}
	}
	program, err := exec.LookPath(os.Args[1])
	if err == nil {
		err = syscall.Exec(program, os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}
