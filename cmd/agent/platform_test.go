package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// handlers is a directory of binfmt_misc with one that works in containers and one that does not.
func handlers(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"status": "enabled\n", "register": "",
		"qemu-aarch64": "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\n",
		"qemu-s390x":   "enabled\ninterpreter /usr/bin/qemu-s390x\nflags: OC\noffset 0\nmagic 7f454c4602020100000000000000000000020016\n",
		"qemu-riscv64": "disabled\ninterpreter /usr/bin/qemu-riscv64\nflags: F\noffset 0\nmagic 7f454c460201010000000000000000000200f300\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestEmulation: info and images say the same of an image for another platform: whether it runs by emulation, or that this is not known.
func TestEmulation(t *testing.T) {
	for _, test := range []struct {
		name        string
		dir         string
		arm64, rest string // what becomes of an image
		machine     []string
	}{
		{"seen", handlers(t), "runs by emulation", "does not run", []string{
			"runs images for arm64 by emulation (binfmt_misc), slowly",
			"emulates s390x outside of containers alone: binfmt_misc has the handler without flag F",
		}},
		{"not seen, as in a pod", t.TempDir(), "not known whether it runs", "not known whether it runs", []string{
			"emulation of other architectures: not known: read binfmt_misc: it is not mounted at ",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := readEmulation(test.dir)
			fates := map[string]string{
				"linux/arm64": test.arm64, "linux/arm64/v8": test.arm64, "linux/s390x": test.rest, "linux/riscv64": test.rest, "windows/arm64": test.rest, "nonsense": test.rest,
			}
			for platform, want := range fates {
				if got := e.fate(platform); got != want {
					t.Errorf("%s %s, want: %s", platform, got, want)
				}
			}

			var stdout bytes.Buffer
			answer := &infoAnswer{Machine: machineInfo{emulation: e}, Runtime: runtimeInfo{Name: "containerd", WrongPlatform: []agent.WrongImage{
				{Name: "r.example/a:1", Platform: "linux/arm64", Pods: []string{"shop/web-0"}}, {Name: "r.example/b:1", Platform: "linux/s390x"},
			}}}
			if err := (&program{stdout: &stdout}).printInfo(answer); err != nil {
				t.Fatal(err)
			}
			for _, want := range append(test.machine, "built for linux/arm64, "+test.arm64+" here: r.example/a:1, used by shop/web-0\n", "built for linux/s390x, "+test.rest+" here: r.example/b:1\n") {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("info does not say %q:\n%s", want, stdout.String())
				}
			}

			images := imageTable{wrongPlatform: true, emulation: e, configs: map[string]cri.ImageConfig{"a": {OS: "linux", Architecture: "arm64"}, "b": {OS: "linux", Architecture: "s390x"}}}
			rows := images.rows(&output{}, []*runtimeapi.Image{{Id: "a", RepoTags: []string{"r.example/a:1"}}, {Id: "b", RepoTags: []string{"r.example/b:1"}}})
			for i, want := range []string{"HERE", test.arm64, test.rest} {
				if got := rows[i][len(rows[i])-1]; got != want {
					t.Errorf("row %d ends with %q, want %q", i, got, want)
				}
			}
		})
	}
}

// TestPlatform: the agent knows best, then the Node, and then it is what this program was built for.
func TestPlatform(t *testing.T) {
	own := platforms.Format(probe.OwnPlatform())
	for _, test := range []struct{ snapshot, node, want string }{
		{"linux/s390x", "ppc64le", "linux/s390x"}, {"linux/arm/v7", "", "linux/arm/v7"}, {"", "ppc64le", "linux/ppc64le"}, {"", "", own}, {"no agent", "ppc64le", "linux/ppc64le"}, {"no agent", "", own},
	} {
		snapshot := &agent.Snapshot{Platform: test.snapshot}
		if test.snapshot == "no agent" {
			snapshot = nil
		}
		if got := platforms.Format(platformOf(snapshot, &nodeInfo{Architecture: test.node})); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
