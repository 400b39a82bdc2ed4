package cri_test

import (
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

func TestPlatform(t *testing.T) {
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
		os, arch, variant := cri.Platform(map[string]string{"info": tt.info})
		if got := [3]string{os, arch, variant}; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	if os, arch, variant := cri.Platform(nil); os+arch+variant != "" {
		t.Error("a platform out of nothing")
	}
}

func FuzzPlatform(f *testing.F) {
	f.Add(`{"chainID":"sha256:09bc","imageSpec":{"architecture":"arm64","variant":"v8","os":"linux"}}`)
	f.Add(`{"imageSpec":{"os":"windows","os.version":"10.0.1"}}`)
	f.Add(`{"imageSpec":{"os":"li\u0000nux"}}`)
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, info string) {
		os, arch, variant := cri.Platform(map[string]string{"info": info})
		for _, word := range []string{os, arch, variant} {
			if len(word) > 32 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>\/{}`, r) }) {
				t.Errorf("gave out %q", word)
			}
		}
	})
}
