package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/internal/disk"
)

// dfAnswer is what `pullwatch df` prints.
type dfAnswer struct {
	Schema string `json:"schema"`
	*disk.Report
	Fits []fitAnswer `json:"fits,omitempty"`
	// NotKnown is what only an agent's memory could tell.
	NotKnown []string `json:"notKnown,omitempty"`
}

// looking is where disks and the kubelet's settings are looked at.
type looking struct{ disk agent.DiskConfig }

// The places of a node, and those of a pod's service account.
const (
	kubeletDir       = "/var/lib/kubelet"
	kubeletFile      = "/var/lib/kubelet/config.yaml" // kubeadm's
	serviceAccountAt = "/var/run/secrets/kubernetes.io/serviceaccount/"
)

func (l *looking) flags(f *pflag.FlagSet) {
	c := &l.disk
	f.StringVar(&c.NodeDir, "nodefs-path", kubeletDir, "a directory on the kubelet's filesystem: its root directory, or in a pod an emptyDir")
	f.StringVar(&c.KubeletFile, "kubelet-config", kubeletFile, "the kubelet's configuration file, for its thresholds where it does not tell them itself; empty is none")
	f.StringVar(&c.KubeletDropIns, "kubelet-config-dir", "", "the directory of its drop-ins (the kubelet's --config-dir)")
	f.StringVar(&c.KubeletAddress, "kubelet-address", "", "HOST:PORT of the kubelet, to ask it for its settings (default as the Node tells)")
	f.StringVar(&c.TokenFile, "kubelet-token-file", serviceAccountAt+"token", "token to ask the kubelet for its settings with (/configz), over verified TLS alone; empty asks nothing")
	f.StringArrayVar(&c.CAFiles, "kubelet-ca-file", []string{serviceAccountAt + "ca.crt"}, "certificates that the kubelet's own is verified against (repeatable)")
}

func dfCommand(p *program) *cobra.Command {
	var o output
	var l looking
	var r reaching
	cmd := &cobra.Command{
		Use:   "df [IMAGE...]",
		Short: "Show the filesystems of images against the kubelet's thresholds, and what garbage collection could free",
		Long: `Shows the filesystems that images, containers and the kubelet live on, as the kubelet counts them: how full each is, where the kubelet
collects images (GC) and where it evicts pods, what it could collect, and, where an agent runs, when it will come to that at the present rate.

The thresholds are those in force: from the kubelet itself where the agent may ask it, else from its configuration file, else its defaults, which are
marked as assumed.

Of each IMAGE it asks the registry, as probe does, and tells whether it will fit here: what there is to download, what of it is on the node, and what it
will take unpacked, which is an estimate.

Exit codes: 0; 1 a threshold of eviction is met (a soft one within its grace too) or garbage collection fails, where the thresholds are not assumed, or an
image will not fit; 2 the filesystem of images could not be looked at, or wrong use.`,
		RunE: func(cmd *cobra.Command, images []string) error {
			if err := errors.Join(o.validate(), r.validate()); err != nil {
				return err
			}
			var targets []target
			for _, name := range distinct(images) {
				t, err := targetOf(name)
				if err != nil || t.image == "" {
					return &usageError{fmt.Sprintf("%q is no image", name), "Write an image as pods name it, such as registry.example.com/shop/web:1."}
				}
				targets = append(targets, t)
			}
			answer, err := p.df(cmd.Context(), &l, &r)
			if err != nil {
				return err
			}
			if len(targets) > 0 {
				if err := p.fit(cmd.Context(), &r, answer, targets); err != nil {
					return err
				}
			}
			if o.format != "table" {
				err = o.data(p.stdout, answer)
			} else {
				err = p.printDF(answer)
			}
			return cmp.Or(err, answer.outcome())
		},
	}
	o.flags(cmd.Flags(), "")
	l.flags(cmd.Flags())
	r.flags(cmd.Flags())
	return cmd
}

// df asks the agent, or looks once.
func (p *program) df(ctx context.Context, l *looking, r *reaching) (*dfAnswer, error) {
	answer := &dfAnswer{Schema: "pullwatch.df/v1"}
	if snapshot, err := p.snapshot(ctx); err == nil && snapshot.Disk.Value != nil {
		answer.Report = snapshot.Disk.Value
		return answer, nil
	}
	answer.NotKnown = []string{"when a threshold will be reached: no agent has watched", "which images are too young to be collected: none is taken to be"}
	config, _, err := p.runtimeConfig(ctx, r)
	if err != nil {
		answer.NotKnown = append(answer.NotKnown, "how the runtime is configured: "+firstLine(err.Error()))
	}
	client, _, err := p.settings.runtime()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	look := agent.DiskLook{
		Client: client, Runtime: config, NodeDir: l.disk.NodeDir, Finder: &disk.Finder{}, History: &disk.History{}, Settings: p.kubeletSettings(ctx, &l.disk),
	}
	if look.Images, err = client.ListImages(ctx); err != nil {
		return nil, err
	}
	containers, err := client.ListContainers(ctx)
	if err != nil {
		return nil, err
	}
	look.Unused = (&disk.Tracker{}).Observe(look.Images, containers, nil, 0, time.Now())
	answer.Report, _ = look.Report(ctx) // what was not seen is in it
	return answer, nil
}

// fitAnswer is whether an image will fit on this node.
type fitAnswer struct {
	Image  string `json:"image"`
	ReadAs string `json:"readAs,omitempty"` // as imageAnswer has it
	disk.Fit
}

// fit asks the registries of images, and tells whether they will fit.
func (p *program) fit(ctx context.Context, r *reaching, a *dfAnswer, images []target) error {
	probed, err := p.probe(ctx, r, images)
	if err != nil {
		return err
	}
	for _, i := range probed.Images {
		fit := fitAnswer{Image: i.Image.Image, ReadAs: i.ReadAs}
		switch {
		case len(i.Layers) == 0:
			fit.Answer, fit.Text = disk.NotKnown, "What it has in it is not known: "+cmp.Or(i.Error, i.NotChecked, i.Cause.Title())+"."
		default:
			fit.Fit = a.Fit(i.layers())
		}
		a.Fits = append(a.Fits, fit)
	}
	return nil
}

// layers are those of an image, and the digests of those that are here: the lowest ones, as many as the bytes that are. One of no size may be any.
func (a *imageAnswer) layers() (all []disk.Layer, present map[string]bool) {
	present = make(map[string]bool)
	var passed int64
	for _, layer := range a.Layers {
		all = append(all, disk.Layer{Digest: layer.Digest, Bytes: layer.SizeBytes})
		if passed += layer.SizeBytes; a.PresentBytes != nil && layer.SizeBytes > 0 && passed <= *a.PresentBytes {
			present[layer.Digest] = true
		}
	}
	return all, present
}

// kubeletSettings reads the kubelet's settings, from itself where the own Node and a token can be had.
func (p *program) kubeletSettings(ctx context.Context, c *agent.DiskConfig) disk.Settings {
	address, version := "", ""
	if !p.settings.noKube {
		if k, err := p.settings.kube(); err == nil {
			if node, err := k.Node(ctx); err == nil {
				address, version = node.KubeletAddress, node.KubeletVersion
			}
		}
	}
	return agent.KubeletSettings(ctx, c, address, p.settings.nodeName, version)
}

// outcome is the command's.
func (a *dfAnswer) outcome() error {
	images := false
	for i := range a.Filesystems {
		f := &a.Filesystems[i]
		images = images || f.Roles.Has(disk.ImageFS)
		for _, t := range f.Thresholds {
			if t.Met && !a.Settings.Assumed {
				return errNotFine
			}
		}
	}
	for i := range a.Fits {
		if a.Fits[i].Answer == disk.No {
			return errNotFine
		}
	}
	switch {
	case !images && len(a.Unseen) > 0:
		return withHint(errors.New(a.Unseen[0].Error), cmp.Or(a.Unseen[0].Do, "See what is not seen above."))
	case a.GC != nil && a.GC.Fails && !a.Settings.Assumed:
		return errNotFine
	}
	return nil
}

// worthSaying is how full a filesystem is before it is said that too little could be collected: an empty one has next to no images to collect.
const worthSaying = 50 // percent, as the condition has it

// barWidth is that of a bar, in characters: a mark in it is 2% of a filesystem.
const barWidth = 50

func (p *program) printDF(a *dfAnswer) error {
	said := labels{}
	for i := range a.Filesystems {
		if i > 0 {
			said.line("")
		}
		said.filesystem(a, &a.Filesystems[i])
	}
	for _, u := range a.Unseen {
		said.line("%s not seen: %s", u.Role, u.Error)
		if u.Do != "" {
			said.line("  do:    %s", u.Do)
		}
	}
	said.line("")
	said.settings(a)
	said.kubelet(a.Kubelet)
	for _, f := range a.Findings {
		said.line("  note:  %s", f.Text)
		said.line("         %s", f.Do)
	}
	for i := range a.Fits {
		said.line("")
		said.fit(&a.Fits[i])
	}
	for _, text := range a.NotKnown {
		p.note("Not known: %s", text)
	}
	_, err := io.WriteString(p.stdout, said.String())
	return err
}

// filesystem writes one: its bars, and how far it is to each threshold.
func (l *labels) filesystem(a *dfAnswer, f *disk.FilesystemReport) {
	l.line("%s  %s, %s on %s", strings.Join(f.Roles.Names(), " + "), f.Mountpoint, f.Type, f.Device)
	var marks, inodeMarks []mark100
	gc := a.GC
	images := f.Name == disk.ImageFS
	if images && gc != nil && !gc.Off {
		marks = append(marks, mark100{float64(gc.HighPercent), 'G'})
	}
	for i := range f.Thresholds {
		t := &f.Thresholds[i]
		at, known := t.UsedPercent(f)
		switch {
		case !known:
		case t.Signal.Inodes():
			inodeMarks = append(inodeMarks, mark100{at, 'E'})
		default:
			marks = append(marks, mark100{at, 'E'})
		}
	}
	l.line("  bytes  %s %3d%% used, %s of %s available", bar(float64(f.UsedPercent), marks), f.UsedPercent, disk.Bytes(f.AvailableBytes), disk.Bytes(f.SizeBytes))
	if used, known := f.InodesUsedPercent(); known {
		l.line("  inodes %s %3.0f%% used, %d of %d free", bar(used, inodeMarks), used, f.InodesFree, f.Inodes)
	}
	if images && gc != nil {
		l.collection(a, gc, f)
	}
	shown := make(map[string]bool)
	for _, t := range f.Thresholds {
		text := fmt.Sprintf("%s below %s", t.Signal, t.Value)
		if shown[text+t.Kind] || t.Signal.Copied() && len(f.Roles) > 1 {
			continue
		}
		shown[text+t.Kind] = true
		far := "in " + amount(t.Available-t.At, t.Signal.Inodes())
		if t.Met {
			far = a.provided() + "MET: the kubelet evicts pods"
			if grace := time.Duration(t.GraceSeconds * float64(time.Second)); grace > 0 {
				far += " after its grace of " + age(grace)
			}
		}
		l.line("  E  eviction (%s) where %s: %s%s", t.Kind, text, far, l.ahead(a, f.Name, "eviction_"+t.Kind, t.Signal))
	}
}

// provided stands before what assumed thresholds would have the kubelet do.
func (a *dfAnswer) provided() string {
	if a.Settings.Assumed {
		return "if the kubelet's defaults hold, "
	}
	return ""
}

// collection writes what garbage collection would do.
func (l *labels) collection(a *dfAnswer, gc *disk.GCReport, f *disk.FilesystemReport) {
	switch {
	case gc.Off:
		l.line("  G  the kubelet collects no images")
		return
	case gc.Collects && gc.Fails:
		l.line("  G  image collection at %d%%: %sCOLLECTS NOW AND FAILS: it wants %s and finds %s", gc.HighPercent, a.provided(), disk.Bytes(gc.WantedBytes), disk.Bytes(gc.Reclaimable))
	case gc.Collects:
		l.line("  G  image collection at %d%%: %scollects now, wants %s down to %d%%, finds %s", gc.HighPercent, a.provided(), disk.Bytes(gc.WantedBytes), gc.LowPercent, disk.Bytes(gc.Reclaimable))
	default:
		l.line("  G  image collection at %d%%: in %s%s", gc.HighPercent, disk.Bytes(f.AvailableBytes-gc.TriggerBytes), l.ahead(a, f.Name, disk.AheadGC, ""))
	}
	really := "what that really frees is not known: " + gc.EstimateBasis
	if gc.EstimateBytes != nil {
		really = fmt.Sprintf("really about %s (%s)", disk.Bytes(*gc.EstimateBytes), gc.EstimateBasis)
	}
	l.line("     it could delete %d unused images, %s as the kubelet counts; %s", gc.Candidates, disk.Bytes(gc.Reclaimable), really)
	if gc.Young > 0 {
		l.line("     %d more are unused and too young", gc.Young)
	}
	if !gc.Collects && gc.UsedPercent >= worthSaying && gc.Reclaimable < gc.WantedAtTrigger {
		l.line("     %sNOT ENOUGH: it will want %s when it begins", a.provided(), disk.Bytes(gc.WantedAtTrigger))
	}
}

// ahead is a forecast in a few words.
func (l *labels) ahead(a *dfAnswer, filesystem disk.Role, threshold string, signal disk.Signal) string {
	for _, f := range a.Forecast {
		if f.Filesystem != filesystem || f.Threshold != threshold || f.Signal != signal {
			continue
		}
		switch f.Outlook {
		case disk.OutlookGoing:
			return fmt.Sprintf(", in %s at %s an hour", age(time.Duration(f.InSeconds*float64(time.Second))), amount(f.PerHour, signal.Inodes()))
		case disk.OutlookNotGoing:
			return ", not going there"
		}
	}
	return ""
}

// fit writes whether an image will fit.
func (l *labels) fit(f *fitAnswer) {
	switch f.Answer {
	case disk.Yes:
		l.line("%s: fits", f.Image)
	case disk.No:
		l.line("%s: does NOT fit", f.Image)
	default:
		l.line("%s: not known whether it fits", f.Image)
	}
	if f.ReadAs != "" {
		l.line("  read as %s", f.ReadAs)
	}
	l.line("  %s", f.Text)
	if f.DownloadBytes > 0 || f.PresentBytes > 0 {
		l.line("  %s to download, %s of it here already; unpacked about %s (times %.1f, %s)", disk.Bytes(f.DownloadBytes), disk.Bytes(f.PresentBytes),
			disk.Bytes(f.UnpackedBytes), f.Factor, f.FactorBasis)
	}
}

func (l *labels) settings(a *dfAnswer) {
	s := &a.Settings
	if !s.Assumed {
		l.line("thresholds: from %s", s.Source)
		return
	}
	l.line("thresholds: ASSUMED, the kubelet's defaults: its settings could not be read")
	for _, text := range s.Failed {
		l.line("  tried: %s", firstLine(text))
	}
	if s.Do != "" {
		l.line("  do:    %s", s.Do)
	}
}

// kubelet writes what the kubelet says itself.
func (l *labels) kubelet(k *disk.KubeletSays) {
	if k == nil {
		return
	}
	now := time.Now()
	l.line("kubelet: DiskPressure %s for %s (%s)", k.DiskPressure, age(now.Sub(k.Since)), k.Reason)
	if f := k.GCFailed; f != nil {
		l.line("  its last failed collection, %s ago, %d times: %s", age(now.Sub(f.At)), f.Count, f.Message)
	}
}

// amount is a number of bytes or inodes.
func amount(n int64, inodes bool) string {
	if inodes {
		return fmt.Sprintf("%d inodes", n)
	}
	return disk.Bytes(n)
}

// mark100 is a letter at a percentage of a bar.
type mark100 struct {
	percent float64
	letter  byte
}

// bar is a percentage as people see it: [######   G E  ].
func bar(percent float64, marks []mark100) string {
	at := func(percent float64) int { return min(max(int(percent*barWidth/100), 0), barWidth-1) }
	b := []byte(strings.Repeat(" ", barWidth))
	for i := range b[:min(max(int(math.Ceil(percent*barWidth/100)), 0), barWidth)] {
		b[i] = '#'
	}
	for _, m := range marks {
		b[at(m.percent)] = m.letter
	}
	return "[" + string(b) + "]"
}
