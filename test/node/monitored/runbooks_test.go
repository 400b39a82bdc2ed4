package monitored

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the runbooks by name, and the index under README.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	must(t, err)
	all := make(map[string]string)
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".md")] = read(t, file)
	}
	return all
}

// TestPages: every alert and every cause has a page with the same sections, every page has an alert or a cause, and the index names all.
func TestPages(t *testing.T) {
	var want []string
	rules, err := allRules()
	must(t, err)
	for _, r := range rules {
		if r.Alert != "" {
			want = append(want, r.Alert)
		}
	}
	want = append(want, causeNames()...)
	have := pages(t)
	index := have["README"]
	delete(have, "README")
	for _, name := range want {
		if have[name] == "" {
			t.Errorf("%s has no page", name)
		}
		if !strings.Contains(index, "("+name+".md)") {
			t.Errorf("the index does not name %s", name)
		}
	}
	sections := regexp.MustCompile(`(?m)^## (.*)$`)
	for name, page := range have {
		if !slices.Contains(want, name) {
			t.Errorf("%s.md is of no alert and no cause", name)
		}
		if !strings.HasPrefix(page, "# "+name+": ") {
			t.Errorf("%s.md does not begin with its name", name)
		}
		var got []string
		for _, s := range sections.FindAllStringSubmatch(page, -1) {
			got = append(got, s[1])
		}
		if !slices.Equal(got, []string{"Meaning", "Impact", "Diagnosis", "Mitigation"}) {
			t.Errorf("%s.md has the sections %q", name, got)
		}
		if lines := strings.Count(page, "\n"); lines > 60 {
			t.Errorf("%s.md has %d lines, which is more than two screens", name, lines)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	slug    = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// TestLinks: whatever a page links to in this repository is there, the heading too.
func TestLinks(t *testing.T) {
	count := 0
	for name, page := range pages(t) {
		for _, l := range link.FindAllStringSubmatch(page, -1) {
			path, anchor, _ := strings.Cut(l[1], "#")
			if strings.Contains(path, "://") {
				t.Errorf("%s.md links away: %s", name, l[1]) // nobody would see it break
				continue
			}
			count++
			target := page
			if path != "" {
				text, err := os.ReadFile(filepath.Join(runbooks, path))
				if err != nil {
					t.Errorf("%s.md: %v", name, err)
					continue
				}
				target = string(text)
			}
			if anchor != "" && !slices.Contains(anchors(target), anchor) {
				t.Errorf("%s.md: %s has no heading #%s", name, path, anchor)
			}
		}
	}
	if count < 80 {
		t.Errorf("only %d links were found", count)
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(page string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		all = append(all, strings.ReplaceAll(slug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return all
}

var (
	atPrompt  = regexp.MustCompile("(?m)(?:^\\$ |`|\\| |-- /)pullwatch ([a-z][^`\\n|]*)")
	flagNamed = regexp.MustCompile(`^-{1,2}[a-z][a-z-]*`)
	agentFlag = regexp.MustCompile("`(--[a-z][a-z-]+)`")
)

var (
	ofDisks = regexp.MustCompile(`pullwatch_(filesystem|image_filesystem|image_gc|sandbox_image)_|ImageFilesystemPressure`)
	typed   = regexp.MustCompile(`(?m)^\$ (.*)$`)
)

// TestDiskPages: whoever is called for a disk looks at it as the kubelet does first.
func TestDiskPages(t *testing.T) {
	rules, err := allRules()
	must(t, err)
	have, of := pages(t), []string{"disk_full"}
	for _, r := range rules {
		if r.Alert != "" && ofDisks.MatchString(r.Expr) {
			of = append(of, r.Alert)
		}
	}
	if len(of) != 4 {
		t.Errorf("pages of disks: %q", of)
	}
	for _, name := range of {
		if first := typed.FindStringSubmatch(have[name]); first == nil || first[1] != "pullwatch df" {
			t.Errorf("%s.md does not begin with pullwatch df: %q", name, first)
		}
	}
}

// elsewhere are the pages whose trouble is seen without the agent, since it is the agent's.
var elsewhere = []string{"PullwatchAgentsAbsent", "PullwatchAgentDown"}

// TestCommands: every command of ours that a page names is one that the program has, with the flags that it takes.
func TestCommands(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pullwatch")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./cmd/agent")
	build.Dir, build.Env = "../../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	help := make(map[string]string)
	helpOf := func(command string) string {
		if help[command] == "" {
			help[command] = output(t.Context(), t, program, command, "--help")
		}
		return help[command]
	}
	has := func(command, flag string) bool {
		return regexp.MustCompile(`(^|[\s,])` + flag + `($|[\s,=])`).MatchString(helpOf(command))
	}
	if has("failures", "--nosuch") || !has("failures", "-n") || !has("run", "--exclude-registry") {
		t.Fatal("flags are not told apart by the help")
	}
	is := func(command string) bool {
		return regexp.MustCompile(`(?m)^ +pullwatch ` + command + `\b`).MatchString(helpOf(command))
	}
	if is("nosuch") || !is("probe") {
		t.Fatal("commands are not told apart by the help")
	}
	count := 0
	for name, page := range pages(t) {
		for _, use := range atPrompt.FindAllStringSubmatch(page, -1) {
			words := strings.Fields(use[1])
			count++
			if !is(words[0]) {
				t.Errorf("%s.md: there is no command pullwatch %s", name, words[0])
				continue
			}
			for _, word := range words[1:] {
				if flag := flagNamed.FindString(word); flag != "" && !has(words[0], flag) {
					t.Errorf("%s.md: pullwatch %s has no flag %s", name, words[0], flag)
				}
			}
		}
		if !atPrompt.MatchString(page) && !slices.Contains(elsewhere, name) {
			t.Errorf("%s.md names no command", name)
		}
	}
	if count < 50 {
		t.Errorf("only %d commands were found", count)
	}
	// A flag that stands alone is one of the agent's own, or of a program that is named with it.
	others := []string{"--image-credential-provider-config"} // the kubelet's
	for name, page := range pages(t) {
		for _, f := range agentFlag.FindAllStringSubmatch(page, -1) {
			if !slices.Contains(others, f[1]) && !has("run", f[1]) {
				t.Errorf("%s.md: pullwatch run has no flag %s", name, f[1])
			}
		}
	}
}

// TestPagesNameWhatExists: metrics and recorded series of the pages are those of the program and the rules.
func TestPagesNameWhatExists(t *testing.T) {
	metrics, err := knownMetrics()
	must(t, err)
	rules, err := allRules()
	must(t, err)
	recorded := recordedSeries(rules)
	for name, page := range pages(t) {
		if unknown := unknownIn(page, metrics, recorded); len(unknown) > 0 {
			t.Errorf("%s.md: there is no %s", name, strings.Join(unknown, ", "))
		}
	}
}
