package probed

import (
	"fmt"
	"os"
	"strings"
)

const pageFile = "../../../docs/probe-faults.md"

var preface = `# What the probe says, and what containerd says

Made by ` + "`make probed`, and tried again by `make e2e`" + `: for each fault the cause that is expected, written by hand; what ` + "`pkg/probe`" + `
says of the registry on containerd's own configuration, and how many HTTP requests that took; and what ` + "`pkg/cause`" + ` reads out of the error
with which the real containerd (Debian's 1.6.20, and 2.4.2) fails to pull through it. The probe asks whether a registry is there: where the expected cause is of the scope
workload or credentials, it says that the registry works.

` + "`HOST`" + ` is the registry's name and ` + "`ADDRESS`" + ` its address, ` + "`SOURCE`" + ` that of whoever asked, ` + "`TIME`" + ` a time. ` + blackHole + ` and
` + sixHole + ` are black holes, to ` + noRoute + ` there is no route, and ` + unreachable + ` is unreachable. "goes on" is a pull that has neither
failed nor succeeded after ` + fmt.Sprint(int(shortOfPatience.Seconds())) + ` s. Of containerd's error stands what follows
` + "`failed to pull and unpack image \"…\": `, and `failed to resolve reference \"…\": ` (1.6) or `failed to resolve image: `" + ` (2.4).
`

// The columns that are tried.
const (
	columnProbe    = "the probe says"
	columnRequests = "requests"
)

// theSame is in place of what the column before has.
const theSame = "the same"

// row is what was said of a case, by column.
type row map[string]string

func containerdColumn(version string) string { return "containerd " + version + " says" }

var columns = []string{columnProbe, columnRequests, containerdColumn("1.6"), containerdColumn("2.4")}

// document renders the page.
func document(cases []*Case, rows map[string]row) string {
	var b strings.Builder
	b.WriteString(preface)
	topic := ""
	for _, c := range cases {
		if c.Topic != topic {
			topic = c.Topic
			fmt.Fprintf(&b, "\n## %s\n\n| fault | expected | %s |\n|---|---|%s\n", topic, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		}
		b.WriteString("| " + title(c) + " | " + outcome(c.Cause) + " |")
		for i, column := range columns {
			cell := rows[c.Name][column]
			if i > 0 && cell != "" && len(cell) > len(theSame) && cell == rows[c.Name][columns[i-1]] {
				cell = theSame
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func title(c *Case) string {
	if c.Note == "" {
		return c.Name
	}
	return c.Name + "<br>*" + c.Note + "*"
}

// readPage reads back what document wrote.
func readPage() (text string, rows map[string]row, err error) {
	raw, err := os.ReadFile(pageFile)
	rows = map[string]row{}
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), " |"), " | ")
		if len(cells) != len(columns)+2 {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(cells[0], "| "), "<br>")
		rows[name] = row{}
		for i, column := range columns {
			if rows[name][column] = cells[i+2]; cells[i+2] == theSame {
				rows[name][column] = rows[name][columns[i-1]]
			}
		}
	}
	return string(raw), rows, err
}
