package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/test/node"
)

var update = flag.Bool("update", false, "write docs/rights.md anew")

// users are those that the manifests can run the agent as. Without capabilities uid 0 is a user like any other, who owns what is root's.
var users = []struct {
	name string
	argv []string
}{
	{"uid 65532, group 0", []string{"setpriv", "--reuid=65532", "--regid=65532", "--groups=0", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"}},
	{"uid 0, no capabilities", []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"}},
}

// right is one thing that the agent might look at, and whether each of the users can.
type right struct {
	what, why string
	argv      []string
	want      [2]bool
}

// testRights tries as each user what the table in docs/rights.md says, against the files and sockets of a real node.
func testRights(t *testing.T, a *agent) {
	n := a.n
	// What an administrator writes: hosts.toml for everybody to read, keys and passwords for root alone.
	place := func(name string, mode os.FileMode) string {
		t.Helper()
		file := filepath.Join(n.Dir, "admin", name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte("x\n"), mode))
		return file
	}
	environ := fmt.Sprintf("/proc/%d/environ", n.PID(node.PartContainerd))
	read := func(file string) []string { return []string{"cat", file} }
	store := filepath.Join(n.Dir, "containerd")
	kubelet := filepath.Join(n.Dir, "kubelet")
	rows := []right{
		{"the CRI socket (0660 root:root)", "every question to the runtime", []string{a.bin, "images", "-q", "-r", n.CRISocket()}, [2]bool{true, true}},
		{"containerd's `config.toml` (0644)", "mirrors, config_path", read(n.ContainerdConfig()), [2]bool{true, true}},
		{"the same with mode 0600, as where it holds passwords", "mirrors, config_path", read(place("config.toml", 0o600)), [2]bool{false, true}},
		{"`hosts.toml`, a CA or a client certificate (0644)", "endpoints, trust", read(place("certs.d/_default/hosts.toml", 0o644)), [2]bool{true, true}},
		{"a client's key (0600)", "registries that want client certificates", read(place("certs.d/_default/client.key", 0o600)), [2]bool{false, true}},
		{"the runtime's unit and its drop-ins (0644)", "the proxy", read(place("containerd.service.d/proxy.conf", 0o644)), [2]bool{true, true}},
		{"an environment file of the unit (0600)", "the proxy", read(place("containerd.env", 0o600)), [2]bool{false, true}},
		{"the runtime's own environment (`/proc/PID/environ`)", "the proxy", read(environ), [2]bool{false, false}},
		{"size and free space of containerd's root (`statfs`)", "disk", []string{"stat", "-f", store}, [2]bool{true, true}},
		{"what is inside containerd's root (0700 or 0711)", "sizes of its parts", []string{"ls", store + "/."}, [2]bool{false, true}},
		{"free space of the kubelet's directory (`statfs`)", "disk", []string{"stat", "-f", kubelet}, [2]bool{true, true}},
		{"the node's own credentials (`/var/lib/kubelet/config.json`, 0600)", "pulls with the node's credentials", read(place("kubelet/config.json", 0o600)), [2]bool{false, true}},
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| what | for | %s | %s |\n|---|---|---|---|\n", users[0].name, users[1].name)
	for _, row := range rows {
		fmt.Fprintf(&table, "| %s | %s |", row.what, row.why)
		for i, user := range users {
			argv := append(append([]string{}, user.argv...), row.argv...)
			out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
			if can := err == nil; can != row.want[i] {
				t.Errorf("%s as %s: it can: %v, want %v: %s", row.what, user.name, can, row.want[i], out)
			}
			fmt.Fprintf(&table, " %s |", map[bool]string{true: "yes", false: "no"}[row.want[i]])
		}
		table.WriteString("\n")
	}

	const page, begin, end = "../../../docs/rights.md", "<!-- made by test/node/e2e/rights_test.go -->\n", "<!-- end -->"
	text, err := os.ReadFile(page)
	must(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !ok || !closed:
		t.Fatalf("%s has no table between %q and %q", page, begin, end)
	case *update:
		must(t, os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o644))
	case old != table.String():
		t.Errorf("%s says something else:\n%s\nmake it anew: go test -run TestContainerd2/rights -update", page, table.String())
	}
}
