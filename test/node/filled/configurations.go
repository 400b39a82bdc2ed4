package filled

import "github.com/pullwatch/pullwatch/internal/disk"

// Configuration is one way to configure a kubelet. Its texts are YAML, put below what the lab's kubelet needs to run.
type Configuration struct {
	Name string
	Text string
	// Whole has Text be all of the file. One that is empty is not there.
	Whole bool
	// DropIns are the files of --config-dir, whole, by name.
	DropIns map[string]string
	// Flags are the kubelet's, which no file tells of: only /configz has what they come to.
	Flags []string
	// Refused is whether the kubelet does not start.
	Refused bool
	// Low is where the low percentage is not below the high one.
	Low bool
	// Unknown has a field in it that no kubelet knows.
	Unknown bool
	Note    string
}

// finding is what Pullwatch finds wrong with it, by its code. A file that is not there is no finding.
func (c *Configuration) finding() string {
	switch {
	case c.Unknown:
		return string(disk.ConfigUnknownField)
	case c.Low:
		return string(disk.LowNotBelowHigh)
	case c.Refused && (!c.Whole || c.Text != ""):
		return string(disk.ConfigRefused)
	}
	return ""
}

const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

var configurations = []Configuration{
	{Name: "nothing is set"},
	{Name: "percentages", Text: "imageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60"},
	{Name: "one hard threshold", Text: "evictionHard: {imagefs.available: 20%}", Note: "the defaults of all other signals are gone"},
	{
		Name: "one hard threshold, merged", Text: "evictionHard: {imagefs.available: 20%}\nmergeDefaultEvictionSettings: true",
	},
	{Name: "an empty map of hard thresholds", Text: "evictionHard: {}", Note: "no threshold is in force"},
	{Name: "no map of hard thresholds", Text: "evictionHard: null"},
	{Name: "0% and 100%", Text: "evictionHard: {imagefs.available: 0%, nodefs.available: 100%, imagefs.inodesFree: 5%}", Note: "such a signal is ignored"},
	{Name: "a quantity", Text: "evictionHard: {imagefs.available: 10Gi, imagefs.inodesFree: 1k}"},
	{Name: "a threshold for the containerfs", Text: "evictionHard: {containerfs.available: 7%, imagefs.available: 15%}"},
	{
		Name: "a soft threshold",
		Text: "evictionSoft: {imagefs.available: 25%}\nevictionSoftGracePeriod: {imagefs.available: 90s}\nevictionMinimumReclaim: {imagefs.available: 1Gi}",
	},
	{Name: "ages", Text: "imageMinimumGCAge: 10m\nimageMaximumGCAge: 48h"},
	{Name: "a minimum age of zero", Text: "imageMinimumGCAge: 0s", Note: "zero is taken for nothing, which is 2m"},
	{Name: "garbage collection is off", Text: "imageGCHighThresholdPercent: 100"},

	{
		Name: "a drop-in over the file", Text: "imageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60",
		DropIns: map[string]string{"50-images.conf": head + "imageGCHighThresholdPercent: 75\n"},
	},
	{
		Name: "drop-ins in the order of their names",
		DropIns: map[string]string{
			"10-a.conf": head + "imageGCHighThresholdPercent: 71\nimageMinimumGCAge: 3m\n",
			"9-b.conf":  head + "imageGCHighThresholdPercent: 72\n",
			"20-c.conf": head + "imageGCHighThresholdPercent: 73\nimageGCLowThresholdPercent: 50\n",
		},
		Note: "9 stands behind 10 and 20",
	},
	{
		Name: "a drop-in in a directory of its own",
		DropIns: map[string]string{
			"10-first.conf":        head + "imageGCHighThresholdPercent: 91\n",
			"20-more/inner.conf":   head + "imageGCHighThresholdPercent: 92\n",
			"20-more/ignored.yaml": head + "imageGCHighThresholdPercent: 93\n",
		},
	},
	{Name: "a file that does not end in .conf", DropIns: map[string]string{"50-images.yaml": head + "imageGCHighThresholdPercent: 75\n"}, Note: "it is not read"},
	{
		Name: "a drop-in with one hard threshold", DropIns: map[string]string{"50.conf": head + "evictionHard: {imagefs.available: 20%}\n"},
		Note: "the defaults were in place before it was merged, and stay",
	},
	{
		Name: "a drop-in with one hard threshold over a file with another", Text: "evictionHard: {nodefs.available: 5%}",
		DropIns: map[string]string{"50.conf": head + "evictionHard: {imagefs.available: 20%}\n"}, Note: "maps are merged",
	},
	{
		Name: "a drop-in asks for merged defaults", Text: "evictionHard: {nodefs.available: 5%}",
		DropIns: map[string]string{"50.conf": head + "mergeDefaultEvictionSettings: true\n"}, Note: "too late: only the file's counts",
	},
	{
		Name: "a drop-in takes a threshold away", Text: "evictionHard: {nodefs.available: 5%, imagefs.available: 20%}",
		DropIns: map[string]string{"50.conf": head + "evictionHard: {imagefs.available: null}\n"},
	},
	{
		Name: "a drop-in takes a setting away", Text: "imageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60",
		DropIns: map[string]string{"50.conf": head + "imageGCLowThresholdPercent: null\nimageGCHighThresholdPercent: null\n"},
	},
	{Name: "an empty map of hard thresholds, and a drop-in", Text: "evictionHard: {}", DropIns: map[string]string{"50.conf": head + "imageGCHighThresholdPercent: 90\n"}},
	{Name: "an unknown field in a drop-in", DropIns: map[string]string{"50.conf": head + "imageGCHighThreshold: 75\n"}, Unknown: true},
	{
		Name: "a flag over the file", Text: "imageGCHighThresholdPercent: 90", Flags: []string{"--image-gc-high-threshold=95"},
		Note: "files cannot tell of flags",
	},

	{Name: "an unknown field", Text: "imageGCHighThreshold: 70", Unknown: true},
	{Name: "a field in lower case", Text: "imagegchighthresholdpercent: 70", Unknown: true},
	{Name: "a field twice", Text: "imageGCHighThresholdPercent: 90\nimageGCHighThresholdPercent: 95"},
	{Name: "not there", Whole: true, Refused: true},
	{Name: "a tab", Text: head + "evictionHard:\n\timagefs.available: 15%\n", Whole: true, Refused: true},
	{Name: "cut off", Text: `{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "imageGCHigh`, Whole: true, Refused: true},
	{Name: "no kind", Text: "imageGCHighThresholdPercent: 70\n", Whole: true, Refused: true},
	{Name: "another version", Text: "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n", Whole: true, Refused: true},
	{Name: "a percentage in quotes", Text: `imageGCHighThresholdPercent: "70"`, Refused: true},
	{Name: "an age without a unit", Text: "imageMinimumGCAge: 120", Refused: true},
	{Name: "high above 100", Text: "imageGCHighThresholdPercent: 101", Refused: true},
	{Name: "low below 0", Text: "imageGCLowThresholdPercent: -1", Refused: true},
	{Name: "low above high", Text: "imageGCHighThresholdPercent: 70", Refused: true, Low: true, Note: "the low one is the default, 80"},
	{Name: "low is high", Text: "imageGCHighThresholdPercent: 80", Refused: true, Low: true},
	{Name: "the maximum age below the minimum", Text: "imageMinimumGCAge: 10m\nimageMaximumGCAge: 5m", Refused: true},
	{Name: "a negative minimum age", Text: "imageMinimumGCAge: -1m"},
	{Name: "a threshold above 100%", Text: "evictionHard: {imagefs.available: 110%}", Refused: true},
	{Name: "a threshold below 0%", Text: "evictionHard: {imagefs.available: -5%}", Refused: true},
	{Name: "a negative quantity", Text: "evictionHard: {imagefs.available: -5Gi}", Refused: true},
	{Name: "a threshold that is no number", Text: "evictionHard: {imagefs.available: some}", Refused: true},
	{Name: "a threshold as a number", Text: "evictionHard: {imagefs.available: 15}", Refused: true},
	{Name: "an unknown signal", Text: "evictionHard: {imagefs.free: 15%}", Refused: true},
	{Name: "a soft threshold without its grace period", Text: "evictionSoft: {imagefs.available: 25%}", Refused: true},
	{Name: "a minimum reclaim above 100%", Text: "evictionMinimumReclaim: {imagefs.available: 120%}", Note: "nobody checks it"},
	{Name: "a drop-in without a kind", DropIns: map[string]string{"50.conf": "imageGCHighThresholdPercent: 75\n"}, Refused: true},
	{Name: "a drop-in that does not parse", DropIns: map[string]string{"50.conf": head + "evictionHard: {\n"}, Refused: true},
	{Name: "an empty drop-in", DropIns: map[string]string{"50.conf": ""}, Refused: true},
	{Name: "a drop-in that makes low above high", DropIns: map[string]string{"50.conf": head + "imageGCHighThresholdPercent: 60\n"}, Refused: true, Low: true},
}
