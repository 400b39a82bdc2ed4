package disk

import (
	"fmt"
	"math"
)

// How much larger images are unpacked than downloaded, where the node's own images do not tell.
const (
	// usualFactor is what gzip -6 made of Debian 12's /usr/bin (2.8), /usr/lib/x86_64-linux-gnu (3.1), /usr/lib/python3 (3.4), /usr/share (2.3)
	// and of Go's own programs (2.5), measured with tar | gzip -6 | wc -c.
	usualFactor = 2.8
	// leastFactor is that of content which is compressed already, as models are; mostFactor is beyond all that was measured.
	leastFactor, mostFactor = 1.0, 4.0
	// factorSpread is how far one image may be from the node's mean.
	factorSpread = 1.5
)

// Layer is a layer of an image, as its manifest has it.
type Layer struct {
	Digest string
	Bytes  int64 // compressed: what is downloaded
}

// Answer is one of three.
type Answer string

// The answers.
const (
	Yes      Answer = "yes"
	No       Answer = "no"
	NotKnown Answer = "not_known"
)

// Fit is whether an image will fit on the filesystem of images.
type Fit struct {
	Answer Answer `json:"answer"`
	Text   string `json:"text"` // a sentence

	DownloadBytes int64 `json:"downloadBytes"` // of layers that are not here yet
	PresentBytes  int64 `json:"presentBytes"`  // of layers that are here already, as far as it is known
	// UnpackedBytes is an estimate of what is not here, by Factor; FactorBasis says where that is from.
	UnpackedBytes int64   `json:"unpackedBytes"`
	Factor        float64 `json:"factor"`
	FactorBasis   string  `json:"factorBasis"`
	// NeededBytes is an estimate of what the filesystem has to hold. It lies between LeastBytes and MostBytes.
	NeededBytes int64 `json:"neededBytes"`
	LeastBytes  int64 `json:"leastBytes"`
	MostBytes   int64 `json:"mostBytes"`
	// AvailableBytes is what there is; UntilEvictionBytes and UntilGCBytes are what may be used up before pods are evicted and images collected.
	// They are below zero where that is so already, and nil where thresholds are assumed.
	AvailableBytes     int64  `json:"availableBytes"`
	UntilEvictionBytes *int64 `json:"untilEvictionBytes,omitempty"`
	UntilGCBytes       *int64 `json:"untilGCBytes,omitempty"`
}

// FitInput is what the answer comes from.
type FitInput struct {
	Layers []Layer
	// Present are the digests of layers that are here already; nil is not known, and each layer counts.
	Present map[string]bool
	Runtime string // containerd, cri-o
	// ImagesBytes and SnapshotBytes are the sizes of all images here as the runtime tells them, and what its ImageFsInfo says is used.
	ImagesBytes, SnapshotBytes int64
	Images                     *Filesystem // nil was not seen
	Settings                   *Settings
	Standings                  []Standing
}

// WillFit tells whether an image can be pulled and unpacked without pods being evicted. containerd keeps what it downloaded beside what it
// unpacked; CRI-O downloads to another place and keeps what is unpacked.
func WillFit(in FitInput) Fit {
	var f Fit
	unsized := false
	for _, layer := range in.Layers {
		switch {
		case layer.Bytes < 0:
		case in.Present[layer.Digest]:
			f.PresentBytes = plus(f.PresentBytes, layer.Bytes)
		default:
			f.DownloadBytes = plus(f.DownloadBytes, layer.Bytes)
			unsized = unsized || layer.Bytes == 0
		}
	}
	f.Factor, f.FactorBasis = usualFactor, "usual for programs"
	least, most := leastFactor, mostFactor
	if in.Runtime == "containerd" && in.ImagesBytes > 0 && in.SnapshotBytes > 0 {
		f.Factor = max(leastFactor, float64(in.SnapshotBytes)/float64(in.ImagesBytes))
		f.FactorBasis = "mean of the images on this node"
		least, most = max(leastFactor, f.Factor/factorSpread), f.Factor*factorSpread
	}
	kept := 1.0 // what is downloaded stays
	if in.Runtime == "cri-o" {
		kept = 0
	}
	of := func(factor float64) int64 { return times(f.DownloadBytes, factor) }
	f.UnpackedBytes = of(f.Factor)
	f.NeededBytes, f.LeastBytes, f.MostBytes = of(f.Factor+kept), of(least+kept), of(most+kept)
	if in.Images == nil {
		f.Answer, f.Text = NotKnown, "The filesystem of images was not seen."
		return f
	}
	f.AvailableBytes = in.Images.AvailableBytes
	room, what := f.AvailableBytes, "what is available"
	if in.Settings != nil && !in.Settings.Assumed() {
		gc := f.AvailableBytes - TriggerBytes(in.Images.SizeBytes, in.Settings.HighPercent.Value)
		f.UntilGCBytes = &gc
		for _, s := range in.Standings {
			if until := s.Available - s.At; s.Filesystem == in.Images && !s.Signal.Inodes() && !s.Soft && until < room {
				room, what = until, "what may be used before the kubelet evicts ("+string(s.Signal)+" below "+s.Amount.Text+")"
			}
		}
		f.UntilEvictionBytes = &room
	}
	switch {
	case f.DownloadBytes == 0 && !unsized:
		f.Answer, f.Text = Yes, "All of it is here already."
	case f.DownloadBytes > 0 && f.LeastBytes > room:
		f.Answer = No
		f.Text = fmt.Sprintf("It needs at least %s, and %s is %s.", Bytes(f.LeastBytes), what, Bytes(room))
	case unsized: // containerd pulls such a layer, however large it is
		f.Answer, f.Text = NotKnown, "Its manifest does not tell how large each layer is."
	case f.MostBytes <= room:
		f.Answer = Yes
		f.Text = fmt.Sprintf("It needs about %s and at most %s, and %s is %s.", Bytes(f.NeededBytes), Bytes(f.MostBytes), what, Bytes(room))
	default:
		f.Answer = NotKnown
		f.Text = fmt.Sprintf("It needs about %s, between %s and %s, and %s is %s.", Bytes(f.NeededBytes), Bytes(f.LeastBytes), Bytes(f.MostBytes), what, Bytes(room))
	}
	return f
}

// plus and times reckon with sizes that others tell, none of which is below zero. Where no number is large enough, they give the largest: an overflow
// would be a small one, and an image that cannot fit anywhere would.
func plus(a, b int64) int64 { return a + min(b, math.MaxInt64-a) }

func times(n int64, factor float64) int64 {
	if product := float64(n) * factor; product < math.MaxInt64 {
		return int64(product)
	}
	return math.MaxInt64
}

// Bytes is a number of bytes as a sentence has it: 1.5 GiB.
func Bytes(n int64) string {
	if n < 0 {
		return "-" + Bytes(-max(n, -1<<62))
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
