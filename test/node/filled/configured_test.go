package filled

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/test/node"
)

// TestConfigurations has the kubelet start with each of the configurations, and Pullwatch read it.
func TestConfigurations(t *testing.T) {
	if testing.Short() {
		t.Skip("a node, which make e2e brings up")
	}
	t.Parallel()
	l := startLab(t, &Disk{Mkfs: ext4, MiB: 64, Containerd: node.Containerd16})
	rows := map[string]string{}
	match := regexp.MustCompile(*only)
	for i := range configurations {
		c := &configurations[i]
		if !match.MatchString(c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if err := l.writeConfiguration(c); err != nil {
				t.Fatal(err)
			}
			settings, refusal, err := l.makes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			read, because, findings := l.reads(c)
			if (refusal != "") != c.Refused {
				t.Errorf("refused is %t, want %t: %s", refusal != "", c.Refused, refusal)
			}
			if (because != "") != c.Refused {
				t.Errorf("Pullwatch says %q of what the kubelet says %q of", because, refusal)
			}
			if same := settings == read; same == (c.Flags != nil) {
				t.Errorf("the kubelet has\n%s\nPullwatch reads\n%s", settings, read)
			}
			var codes []string
			for _, f := range findings {
				codes = append(codes, string(f.Code))
			}
			if strings.Join(codes, " ") != c.finding() {
				t.Errorf("findings %q, want %q", codes, c.finding())
			}
			if c.Refused {
				settings, read = "refused: `"+refusal+"`", "refused: `"+because+"`"
			} else if len(codes) > 0 {
				read = theSame + ", and " + codes[0]
			}
			rows[c.Name] = c.row(settings, read)
		})
	}
	keep(t, nil, rows)
}
