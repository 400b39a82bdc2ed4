package filled

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const pageFile = "../../../docs/disk-filled.md"

const preface = `# Disks that fill, and what the kubelet does then

Made by ` + "`make filled`, and tried again by `make e2e`" + ` (there without what waits for garbage collection). A real containerd keeps its
images on a small loop-mounted filesystem, which is filled until the real kubelet 1.34.4 does something about it. Just before, Pullwatch is
asked. Its figures are compared with those in the kubelet's events and in its log, and with its ` + "`/stats/summary`" + `: every one that the
kubelet names must be equal to the byte. The figures below are those of the run that wrote this page.

The kubelet rounds usage up to whole percent, takes thresholds in percent as 32-bit numbers, and counts as freed what the runtime says is an
image's size, which with containerd is what was downloaded. An eviction begins by deleting unused images.

## Filled disks
`

const prefaceConfigurations = `
## Configurations of the kubelet

What the real kubelet 1.34.4 makes of each, by its ` + "`/configz`" + ` or by the words with which it ends, and what Pullwatch reads out of the same
files. High and low percentages are written as 85/80, minimum and maximum age likewise; then the thresholds of disks. What is not a whole file
stands below the rest of a configuration that works.

| configuration | files | the kubelet | Pullwatch reads |
|---|---|---|---|
`

// theSame is in place of what the column before has.
const theSame = "the same"

// document renders the page.
func document(filled, configured map[string]string) string {
	var b strings.Builder
	b.WriteString(preface)
	for _, d := range disks {
		fmt.Fprintf(&b, "\n### %s\n\n`%s`, %d MiB, containerd %s\n\n", d.Name, d.Mkfs, d.MiB, d.Containerd)
		b.WriteString("| case | Pullwatch said before | then the kubelet | equal |\n|---|---|---|---|\n")
		for _, c := range d.Cases {
			b.WriteString(filled[c.Name])
		}
	}
	b.WriteString(prefaceConfigurations)
	for _, c := range configurations {
		b.WriteString(configured[c.Name])
	}
	return b.String()
}

// readPage reads back what document wrote: the rows, by name.
func readPage() (text string, filled, configured map[string]string, err error) {
	raw, err := os.ReadFile(pageFile)
	filled, configured = map[string]string{}, map[string]string{}
	into := filled
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "## Configurations") {
			into = configured
		}
		if name, ok := strings.CutPrefix(line, "| **"); ok {
			name, _, _ = strings.Cut(name, "**")
			into[name] = line
		}
	}
	return string(raw), filled, configured, err
}

// mountpoint is the disk's, in a directory of the test's own.
var mountpoint = regexp.MustCompile(`/tmp/pullwatch-test-\d+/containerd`)

var digits = regexp.MustCompile(`[0-9][0-9,]*`)

// shape is a row without its numbers, which differ from run to run.
func shape(row string) string { return digits.ReplaceAllString(row, "N") }

// row is a case as the page has it.
func (r *result) row(c *Case) string {
	var before, then []string
	for _, name := range r.compared() {
		before = append(before, name+" "+number(r.said[name]))
	}
	if r.condition != nil {
		before = append(before, r.condition.Reason+": `"+mountpoint.ReplaceAllString(r.condition.Message, "DISK")+"`")
	}
	for _, e := range r.told.events {
		then = append(then, e.Reason+": `"+e.Text+"`")
	}
	switch {
	case r.told.removed > 0:
		then = append(then, fmt.Sprintf("deletes %d of the images", r.told.removed))
	case len(then) == 0:
		then = append(then, "does nothing")
	}
	equal := fmt.Sprintf("yes, %d figures", len(r.compared())-len(c.Differs))
	if c.Blind {
		equal = "the kubelet has no figures"
	}
	for _, name := range c.Differs {
		equal += fmt.Sprintf("<br>%s: the kubelet has %s", name, number(r.told.figures[name]))
	}
	return cells("**"+c.Name+"**<br>"+c.describe(), strings.Join(before, "<br>"), strings.Join(then, "<br>"), equal)
}

// describe says what a case sets and puts on the disk.
func (c *Case) describe() string {
	text, _ := yaml.Marshal(c.Settings) // of strings and numbers
	var parts []string
	for line := range strings.Lines(string(text)) {
		parts = append(parts, "`"+strings.TrimRight(strings.ReplaceAll(line, "  ", " "), "\n")+"`")
	}
	count := map[string]int{}
	var kinds []string
	for _, i := range c.Images {
		kinds = append(kinds, i.kind())
		count[i.kind()]++
	}
	for _, i := range c.Late {
		kinds = append(kinds, i.kind()+", pulled after it started")
		count[i.kind()+", pulled after it started"]++
	}
	for _, kind := range slices.Compact(kinds) {
		parts = append(parts, fmt.Sprintf("%d %s", count[kind], kind))
	}
	if c.Sandbox {
		parts = append(parts, "the sandbox image")
	}
	if c.Fill.LeaveMiB > 0 {
		parts = append(parts, fmt.Sprintf("other files, but for %d MiB", c.Fill.LeaveMiB))
	}
	if c.Fill.LeaveInodes > 0 {
		parts = append(parts, fmt.Sprintf("other files, but for %d inodes", c.Fill.LeaveInodes))
	}
	if c.Note != "" {
		parts = append(parts, "*"+c.Note+"*")
	}
	return strings.Join(parts, "<br>")
}

func (i image) kind() string {
	kind := fmt.Sprintf("unused of %d MiB", i.mib)
	if i.used {
		kind = fmt.Sprintf("in use of %d MiB", i.mib)
	}
	if i.files > 0 {
		kind += fmt.Sprintf(" in %d files", i.files)
	}
	return kind
}

// row is a configuration as the page has it. Those of it that are refused are told by the texts of both.
func (c *Configuration) row(made, read string) string {
	name := "**" + c.Name + "**"
	if c.Note != "" {
		name += "<br>*" + c.Note + "*"
	}
	if made == read {
		read = theSame
	}
	var files []string
	add := func(name, text string) {
		if name != "" {
			files = append(files, name+":")
		}
		for line := range strings.Lines(strings.TrimPrefix(text, head)) {
			if line = strings.TrimRight(line, "\n"); line != "" {
				files = append(files, "`"+strings.ReplaceAll(line, "\t", "⇥")+"`")
			}
		}
	}
	if c.Whole {
		name += "<br>the whole file"
	}
	add("", c.Text)
	for _, file := range slices.Sorted(maps.Keys(c.DropIns)) {
		add(file, c.DropIns[file])
	}
	for _, flag := range c.Flags {
		files = append(files, "`"+flag+"`")
	}
	return cells(name, strings.Join(files, "<br>"), made, read)
}

// cells is a row of a table.
func cells(texts ...string) string {
	for i, text := range texts {
		texts[i] = strings.ReplaceAll(cmp.Or(text, " "), "|", "\\|")
	}
	return "| " + strings.Join(texts, " | ") + " |\n"
}
