package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// KubernetesRelease is that of the API server, and of the kubelet where no other one is asked for.
const KubernetesRelease = "1.34.4"

// Releases that are compiled, since no Debian package brings them.
const (
	kubernetes134 = KubernetesRelease
	kubernetes131 = "1.31.0"
	containerd24  = "2.4.2"
	distribution3 = "3.1.2"
	helm3         = "3.22.0"
)

// Parts are the programs of a node, as paths.
type Parts struct {
	Etcd          string `json:"etcd"`
	APIServer     string `json:"apiserver"`
	Kubelet       string `json:"kubelet"`
	Controllers   string `json:"controllers,omitempty"`
	Scheduler     string `json:"scheduler,omitempty"`
	Containerd    string `json:"containerd"`
	ContainerdDir string `json:"containerdDir,omitempty"` // holds the shim, when compiled
	Registry      string `json:"registry"`
	Payload       string `json:"payload"`
	Faults        string `json:"faults"`
}

// EnsureParts finds, installs or compiles what the options ask for. Only the first call on a machine takes long.
func EnsureParts(ctx context.Context, o Options, p *Progress) (Parts, error) {
	var parts Parts
	if err := ensureDebian(ctx, o, p); err != nil {
		return parts, err
	}
	b, err := newBuilder(p)
	if err != nil {
		return parts, err
	}
	for _, find := range []struct {
		name string
		to   *string
	}{{"etcd", &parts.Etcd}, {"docker-registry", &parts.Registry}, {"/usr/bin/containerd", &parts.Containerd}} {
		if find.name == "etcd" && o.RuntimeOnly {
			continue
		}
		if *find.to, err = findProgram(find.name); err != nil {
			return parts, err
		}
	}
	if parts.Payload, err = b.small(ctx, "payload"); err != nil {
		return parts, err
	}
	if parts.Faults, err = b.small(ctx, "faults"); err != nil {
		return parts, err
	}
	if !o.RuntimeOnly {
		if err := parts.ensureKubernetes(ctx, b, o); err != nil {
			return parts, err
		}
	}
	if o.Containerd == Containerd24 {
		if parts.ContainerdDir, err = b.containerd(ctx); err != nil {
			return parts, err
		}
		parts.Containerd = filepath.Join(parts.ContainerdDir, "containerd")
	}
	return parts, nil
}

func (p *Parts) ensureKubernetes(ctx context.Context, b *builder, o Options) (err error) {
	if p.APIServer, err = b.kubernetes(ctx, kubernetes134, "kube-apiserver", "about 5 minutes on 2 cores, once"); err != nil || o.ControlPlaneOnly {
		return err
	}
	if p.Kubelet, err = b.kubelet(ctx, o.Kubelet); err != nil || !o.Controllers {
		return err
	}
	if p.Controllers, err = b.kubernetes(ctx, kubernetes134, "kube-controller-manager", "about 1 minute on 2 cores, once"); err != nil {
		return err
	}
	p.Scheduler, err = b.kubernetes(ctx, kubernetes134, "kube-scheduler", "a quarter of a minute on 2 cores, once")
	return err
}

// EnsureKubelet finds or compiles one kubelet.
func EnsureKubelet(ctx context.Context, version string, p *Progress) (string, error) {
	b, err := newBuilder(p)
	if err != nil {
		return "", err
	}
	return b.kubelet(ctx, version)
}

// EnsureDistribution finds or compiles the registry of the CNCF's distribution, v3: Debian's is 2.8.
func EnsureDistribution(ctx context.Context, p *Progress) (string, error) {
	b, err := newBuilder(p)
	if err != nil {
		return "", err
	}
	dir, err := b.released(ctx, "distribution", distribution3, "1 to 4 minutes on 2 cores, once", "github.com/distribution/distribution/v3/cmd/registry")
	return filepath.Join(dir, "registry"), err
}

// EnsureHelm finds or compiles helm, and returns its directory.
func EnsureHelm(ctx context.Context, p *Progress) (string, error) {
	b, err := newBuilder(p)
	if err != nil {
		return "", err
	}
	return b.released(ctx, "helm", helm3, "2 to 8 minutes on 2 cores, once", "helm.sh/helm/v3/cmd/helm")
}

// CacheDir is where compiled programs are kept: PULLWATCH_CACHE, else the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("PULLWATCH_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w\nset PULLWATCH_CACHE to a directory for compiled programs", err)
	}
	return filepath.Join(dir, "pullwatch"), nil
}

// builder compiles into the cache, one program at a time on this machine.
type builder struct {
	progress *Progress
	source   string // the directory of this module
	bin      string
	goTool   string
	goVer    string
}

func newBuilder(p *Progress) (*builder, error) {
	source, err := sourceDir()
	if err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	b := &builder{progress: p, source: source, bin: filepath.Join(cache, "bin")}
	if b.goTool, err = exec.LookPath("go"); err != nil {
		return nil, errors.New("the Go toolchain is missing, and with it Kubernetes cannot be compiled\ninstall Go 1.26 or newer and put it into PATH")
	}
	ver, err := exec.Command(b.goTool, "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	b.goVer = strings.TrimSpace(string(ver))
	return b, nil
}

// lockFile takes a lock that ends when the file is closed, and says so where it has to wait.
func lockFile(path string, p *Progress, doing string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		return f, nil
	}
	p.Say("waiting for another process that %s", doing)
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sourceDir is this module's directory: the go.mod files of Kubernetes lie in it, and go:embed does not take
// what belongs to another module.
func sourceDir() (string, error) {
	var tried []string
	if dir := os.Getenv("PULLWATCH_NODE_SOURCE"); dir != "" {
		tried = append(tried, dir)
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		tried = append(tried, filepath.Dir(file))
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			tried = append(tried, filepath.Join(dir, "test", "node"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range tried {
		if _, err := os.Stat(filepath.Join(dir, "kube", "v1.34", "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the sources of test/node were not found\nrun from within the repository, or set PULLWATCH_NODE_SOURCE to its test/node")
}

// key names a build by everything that decides what comes out of it.
func (b *builder) key(files []string, flags ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, b.goVer, runtime.GOARCH, flags)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%d\n%s", len(raw), raw)
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:12], nil
}

// build runs the go command unless dir is there already. run gets the directory to fill.
func (b *builder) build(dir, what, hint string, run func(tmp string) error) (string, error) {
	dir = filepath.Join(b.bin, dir)
	if there(dir) {
		return dir, nil // nobody waits who has nothing to compile
	}
	// Two nodes that come up at once must not compile the same thing twice.
	lock, err := lockFile(filepath.Join(b.bin, ".lock"), b.progress, "compiles parts of the node")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if there(dir) {
		return dir, nil
	}
	if hint != "" {
		hint = " (" + hint + ")"
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	if err := b.progress.During("compiling "+what, hint, func() error { return run(tmp) }); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (b *builder) run(ctx context.Context, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, b.goTool, args...)
	cmd.Dir = dir
	// Static programs: the payload stands alone in its image, and the rest runs whatever libc there is.
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), dir, err, lastLines(string(out), 12))
	}
	return nil
}

// small builds a program of this module.
func (b *builder) small(ctx context.Context, name string) (string, error) {
	flags := []string{"-trimpath", "-ldflags", "-s -w"}
	key, err := b.key([]string{filepath.Join(b.source, name, "main.go")}, flags...)
	if err != nil {
		return "", err
	}
	dir, err := b.build(name+"-"+key, name, "", func(tmp string) error {
		args := append(append([]string{"build"}, flags...), "-o", filepath.Join(tmp, name), "./"+name)
		return b.run(ctx, b.source, nil, args...)
	})
	return filepath.Join(dir, name), err
}

func (b *builder) kubelet(ctx context.Context, version string) (string, error) {
	if version == Kubelet131 {
		return b.kubernetes(ctx, kubernetes131, "kubelet", "about 4 minutes on 2 cores, once")
	}
	return b.kubernetes(ctx, kubernetes134, "kubelet", "about 3 minutes on 2 cores, once")
}

// kubernetes builds one program of a release from its module under kube/.
func (b *builder) kubernetes(ctx context.Context, release, name, hint string) (string, error) {
	v := strings.Split(release, ".")
	mod := filepath.Join(b.source, "kube", "v"+v[0]+"."+v[1])
	// Without its version the program says v0.0.0-master, which clients refuse to parse.
	const pkg = "k8s.io/component-base/version"
	flags := []string{"-trimpath", "-ldflags", fmt.Sprintf("-s -w -X %s.gitVersion=v%s -X %s.gitMajor=%s -X %s.gitMinor=%s", pkg, release, pkg, v[0], pkg, v[1])}
	key, err := b.key([]string{filepath.Join(mod, "go.mod"), filepath.Join(mod, "go.sum")}, flags...)
	if err != nil {
		return "", err
	}
	dir, err := b.build(name+"-"+release+"-"+key, name+" "+release, hint, func(tmp string) error {
		args := append(append([]string{"build"}, flags...), "-o", filepath.Join(tmp, name), "k8s.io/kubernetes/cmd/"+name)
		return b.run(ctx, mod, nil, args...)
	})
	return filepath.Join(dir, name), err
}

// containerd builds containerd and its shim, which must be found under its own name.
func (b *builder) containerd(ctx context.Context) (string, error) {
	const pkg = "github.com/containerd/containerd/v2/cmd/"
	return b.released(ctx, "containerd", containerd24, "1 to 9 minutes on 2 cores, once", pkg+"containerd", pkg+"containerd-shim-runc-v2")
}

// released builds programs of a released module into one directory.
func (b *builder) released(ctx context.Context, name, release, hint string, packages ...string) (string, error) {
	flags := []string{"-trimpath", "-ldflags", "-s -w"}
	key, err := b.key(nil, append(flags, release)...)
	if err != nil {
		return "", err
	}
	return b.build(name+"-"+release+"-"+key, name+" "+release, hint, func(tmp string) error {
		args := append([]string{"install"}, flags...)
		for _, pkg := range packages {
			args = append(args, pkg+"@v"+release)
		}
		return b.run(ctx, b.bin, []string{"GOBIN=" + tmp}, args...)
	})
}
