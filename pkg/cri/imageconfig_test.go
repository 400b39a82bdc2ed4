package cri_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

func TestReadImageConfig(t *testing.T) {
	for _, tt := range []struct {
		name, info string
		want       [3]string
	}{
		{"containerd", `{"chainID":"sha256:09bc","imageSpec":{"created":"0001-01-01T00:00:00Z","architecture":"arm64","variant":"v8","os":"linux","config":{"Entrypoint":["/pause"]}}}`, [3]string{"linux", "arm64", "v8"}},
		{"CRI-O", `{"imageSpec":{"architecture":"arm64","config":{"Entrypoint":["/pause"]},"os":"linux"}}`, [3]string{"linux", "arm64"}},
		{"none", "", [3]string{}},
		{"no JSON", "failed to marshal", [3]string{}},
		{"another shape", `{"imageSpec":[1,2]}`, [3]string{}},
		{"null", `{"imageSpec":null}`, [3]string{}},
		{"words that are none", `{"imageSpec":{"os":"li\nnux","architecture":"<b>amd64</b>","variant":"v8"}}`, [3]string{"", "", "v8"}},
		{"a long word", `{"imageSpec":{"os":"linux","architecture":"` + strings.Repeat("a", 33) + `"}}`, [3]string{"linux"}},
		{"too long", `{"imageSpec":{"os":"linux","x":"` + strings.Repeat("a", 2<<20) + `"}}`, [3]string{}},
	} {
		c := cri.ReadImageConfig(map[string]string{"info": tt.info})
		if got := [3]string{c.OS, c.Architecture, c.Variant}; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	if c := cri.ReadImageConfig(nil); c.Platform() != "" || c.DiffIDs != nil {
		t.Error("a configuration out of nothing")
	}
}

func TestDiffIDs(t *testing.T) {
	const a, b = "sha256:7fe97f7938adda90e81b37165ee8e27a9d2940a1fdf79854c43b2f52675c90ba", "sha256:8968d79d46c91913a16a72bd56ca6ff15f3d07e13b0b64b3dc8c9d3c0f14b920"
	for _, tt := range []struct {
		name, diffs string
		want        []digest.Digest
	}{
		{"two", `["` + a + `","` + b + `"]`, []digest.Digest{a, b}},
		{"none", `[]`, nil},
		{"one that is none", `["` + a + `","../etc"]`, nil},
		{"too many", `["` + a + `"` + strings.Repeat(`,"`+a+`"`, 500) + `]`, nil},
	} {
		c := cri.ReadImageConfig(map[string]string{"info": `{"imageSpec":{"os":"linux","architecture":"arm","variant":"v7","rootfs":{"diff_ids":` + tt.diffs + `}}}`})
		if !slices.Equal(c.DiffIDs, tt.want) || c.Platform() != "linux/arm/v7" {
			t.Errorf("%s: %v of %s", tt.name, c.DiffIDs, c.Platform())
		}
	}
}

func FuzzImageConfig(f *testing.F) {
	f.Add(`{"chainID":"sha256:09bc","imageSpec":{"architecture":"arm64","variant":"v8","os":"linux"}}`)
	f.Add(`{"imageSpec":{"os":"windows","os.version":"10.0.1"}}`)
	f.Add(`{"imageSpec":{"os":"li\u0000nux"}}`)
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, info string) {
		c := cri.ReadImageConfig(map[string]string{"info": info})
		for _, word := range []string{c.OS, c.Architecture, c.Variant} {
			if len(word) > 32 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>\/{}`, r) }) {
				t.Errorf("gave out %q", word)
			}
		}
	})
}
