package disk

import "testing"

func TestParseGCFailure(t *testing.T) {
	for _, test := range []struct {
		name, message string
		want          GCFailure
		ok            bool
	}{
		{"up to 1.25", "failed to garbage collect required amount of images. Wanted to free 473842483 bytes, but freed 0 bytes", GCFailure{473842483, 0}, true},
		{"1.26 to 1.34", "Failed to garbage collect required amount of images. Attempted to free 115927449 bytes, but only found 26598544 bytes eligible to free.", GCFailure{115927449, 26598544}, true},
		{"from 1.35", "Insufficient free disk space on the node's image filesystem (84% of 256.0 MiB used). Failed to free sufficient space by deleting unused images (freed 26598544 bytes). Investigate disk usage, as it could be used by active images, logs, volumes, or other data.", GCFailure{-1, 26598544}, true},
		{"errors in deletion", "wanted to free 100 bytes, but freed 20 bytes space with errors in image deletion: [rpc error: code = Unknown desc = locked]", GCFailure{100, 20}, true},
		{"something else", "get filesystem info: Failed to get the info of the filesystem with mountpoint", GCFailure{}, false},
		{"a number that is none", "Attempted to free 99999999999999999999 bytes, but only found 1 bytes eligible to free", GCFailure{}, false},
		{"nothing", "", GCFailure{}, false},
	} {
		if got, ok := ParseGCFailure(test.message); got != test.want || ok != test.ok {
			t.Errorf("%s: %+v %v, want %+v %v", test.name, got, ok, test.want, test.ok)
		}
	}
}

func FuzzParseGCFailure(f *testing.F) {
	f.Add("Attempted to free 1 bytes, but only found 2 bytes eligible to free")
	f.Fuzz(func(t *testing.T, message string) {
		if got, ok := ParseGCFailure(message); got.FreedBytes < 0 || !ok && got != (GCFailure{}) {
			t.Errorf("%+v %v", got, ok)
		}
	})
}
