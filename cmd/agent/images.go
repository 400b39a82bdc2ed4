package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/agent"
	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

func imagesCommand(p *program) *cobra.Command {
	var o output
	var t imageTable
	var filters []string
	cmd := &cobra.Command{
		Use:     "images [NAME]",
		Aliases: []string{"image", "img"},
		Short:   "List the images on this node",
		Long: `Lists the images on this node as the container runtime knows them; with a name only those of that repository or reference. Flags and
columns are those of crictl, and after these come two more:

PLATFORM is what the image was built for: one for another platform may be pulled without a word, and fails when it starts.
With --unused come only those that garbage collection may take, least recently used first, and UNUSED FOR: since an agent here saw a container of it
last, or with a + since it first saw the image. With --wrong-platform come only those for a platform that this node does not run by itself, and HERE:
whether it runs them by emulation (binfmt_misc).

USED BY is a pod with a container of the image, running or exited, and how many more there are; such an image is not garbage to the
kubelet, nor is one that the runtime has pinned. Who mounts an image as a volume is not seen.

Exit codes: 0; 2 could not tell or wrong use.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			if t.sort != "name" && t.sort != "size" {
				return &usageError{fmt.Sprintf("--sort %q: no such order", t.sort), "Orders are name and size."}
			}
			keep, err := imageFilter(filters)
			if err != nil {
				return err
			}
			client, _, err := p.settings.runtime()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			images, err := client.ListImages(cmd.Context())
			if err != nil {
				return err
			}
			images = slices.DeleteFunc(images, func(image *runtimeapi.Image) bool {
				return len(args) > 0 && !named(image, args[0]) || !keep(image)
			})
			if o.format == "table" && !o.quiet || t.unused || t.wrongPlatform {
				if err := t.ask(cmd.Context(), p, client, images); t.unused && err != nil {
					return err // all would be taken for unused
				}
				images = t.chosen(cmd.Context(), p, images)
			}
			switch {
			case o.format != "table":
				return o.message(p.stdout, &runtimeapi.ListImagesResponse{Images: images})
			case o.quiet:
				var ids []string
				for _, image := range images {
					ids = append(ids, image.GetId())
				}
				return lines(p.stdout, ids)
			}
			if t.wrongPlatform && t.emulation.EmulationNotKnown != "" && len(images) > 0 {
				p.note("Not known: which other architectures this node emulates: %s", t.emulation.EmulationNotKnown)
			}
			return table(p.stdout, t.rows(&o, images))
		},
	}
	o.flags(cmd.Flags(), "print only image IDs")
	cmd.Flags().BoolVar(&t.digests, "digests", false, "show digests")
	cmd.Flags().BoolVar(&t.unused, "unused", false, "only images that nothing uses and nothing pins, least recently used first")
	cmd.Flags().BoolVar(&t.wrongPlatform, "wrong-platform", false, "only images built for a platform that this node does not run, or by emulation alone, and which of the two")
	cmd.Flags().StringVar(&t.sort, "sort", "name", "order of the table: name, size (largest first)")
	cmd.Flags().BoolVar(&t.pinned, "pinned", false, "show which images are pinned: garbage collection leaves them")
	filterFlag(cmd.Flags(), &filters)
	cmd.Flags().BoolVar(&o.noTrunc, "no-trunc", false, "show whole IDs and digests")
	return cmd
}

func filterFlag(f *pflag.FlagSet, filters *[]string) {
	f.StringArrayVarP(filters, "filter", "f", nil, "only images that match: dangling=true|false, reference=REGULAR-EXPRESSION (repeatable)")
}

// imageFilter reads crictl's filters. All of them have to match.
func imageFilter(filters []string) (keep func(*runtimeapi.Image) bool, err error) {
	var tests []func(*runtimeapi.Image) bool
	for _, filter := range filters {
		name, value, _ := strings.Cut(filter, "=")
		switch name {
		case "dangling":
			want, err := strconv.ParseBool(value)
			if err != nil {
				return nil, &usageError{fmt.Sprintf("--filter %q: true or false is wanted", filter), "Write dangling=true or dangling=false."}
			}
			tests = append(tests, func(image *runtimeapi.Image) bool { return (len(image.GetRepoTags()) == 0) == want })
		case "reference":
			expression, err := regexp.Compile(value)
			if err != nil {
				return nil, &usageError{fmt.Sprintf("--filter %q: %v", filter, err), "Write a regular expression as Go reads them (RE2)."}
			}
			tests = append(tests, func(image *runtimeapi.Image) bool {
				return slices.ContainsFunc(slices.Concat(image.GetRepoTags(), image.GetRepoDigests()), expression.MatchString)
			})
		default:
			return nil, &usageError{fmt.Sprintf("--filter %q: no such filter", filter), "Filters are dangling and reference."}
		}
	}
	return func(image *runtimeapi.Image) bool {
		return !slices.ContainsFunc(tests, func(test func(*runtimeapi.Image) bool) bool { return !test(image) })
	}, nil
}

// named tells whether an image goes by a name: its ID or the start of it, a reference, or a repository.
func named(image *runtimeapi.Image, name string) bool {
	if strings.HasPrefix(strings.TrimPrefix(image.GetId(), "sha256:"), strings.TrimPrefix(name, "sha256:")) {
		return true
	}
	want, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(slices.Concat(image.GetRepoTags(), image.GetRepoDigests()), func(text string) bool {
		have, err := reference.ParseNormalizedNamed(text)
		if err != nil {
			return false
		}
		return have.String() == want.String() || reference.IsNameOnly(want) && have.Name() == want.Name()
	})
}

// imageTable is what the table of images shows beside the images themselves.
type imageTable struct {
	digests, pinned bool
	configs         map[string]cri.ImageConfig // of each image's ID, as are the next two
	users           map[string][]string
	records         map[string]agent.ImageRecord // what an agent remembers

	unused, wrongPlatform bool
	emulation             emulation
	sort                  string
}

// ask fills in what the list of images does not tell. What cannot be seen costs its own cells and a note. The error is why it is not known who uses them.
func (t *imageTable) ask(ctx context.Context, p *program, client *cri.Client, images []*runtimeapi.Image) error {
	configs, err := imageConfigs(ctx, client, images)
	if err != nil {
		p.note("Not known: the platform of some images: %v", err)
	}
	t.configs = make(map[string]cri.ImageConfig, len(images))
	for i, image := range images {
		t.configs[image.GetId()] = configs[i]
	}
	containers, err := client.ListContainers(ctx)
	if err != nil && !t.unused {
		p.note("Not known: who uses the images: %v", err)
	}
	t.users = cri.IndexImages(images).Users(containers)
	return err
}

// chosen are the images that were asked for, in the order in which they were.
func (t *imageTable) chosen(ctx context.Context, p *program, images []*runtimeapi.Image) []*runtimeapi.Image {
	if t.unused {
		images = slices.DeleteFunc(images, func(image *runtimeapi.Image) bool { return image.GetPinned() || len(t.users[image.GetId()]) > 0 })
		records, err := agent.FetchImages(ctx, p.settings.socket)
		if err != nil {
			p.note("Not known: since when they are unused: %v", err)
		}
		t.records = make(map[string]agent.ImageRecord, len(records))
		for _, r := range records {
			t.records[r.ID] = r
		}
	}
	if t.wrongPlatform {
		runs := probe.Runs(p.platform(ctx))
		images = slices.DeleteFunc(images, func(image *runtimeapi.Image) bool {
			platform := t.configs[image.GetId()].Platform()
			return platform == "" || runs(platform)
		})
		t.emulation = readEmulation()
	}
	slices.SortStableFunc(images, func(a, b *runtimeapi.Image) int {
		switch {
		case t.sort == "size":
			return cmp.Compare(b.GetSize(), a.GetSize())
		case t.unused:
			x, y := t.records[a.GetId()], t.records[b.GetId()]
			return cmp.Or(x.LastUsed.Compare(y.LastUsed), x.FirstSeen.Compare(y.FirstSeen))
		}
		return 0
	})
	return images
}

// unusedFor is since when an image is unused, as far as an agent saw.
func (t *imageTable) unusedFor(id string, now time.Time) string {
	r, ok := t.records[id]
	switch {
	case !ok:
		return ""
	case r.LastUsed.IsZero():
		return age(now.Sub(r.FirstSeen)) + "+"
	}
	return age(now.Sub(r.LastUsed))
}

// rows are crictl's columns first, so that a script which cuts them finds them where they were, and then ours.
func (t *imageTable) rows(o *output, images []*runtimeapi.Image) [][]string {
	var rows [][]string
	now := time.Now()
	for _, image := range images {
		digest := "<none>"
		if list := image.GetRepoDigests(); len(list) > 0 {
			_, digest, _ = strings.Cut(list[0], "@")
		}
		platform := t.configs[image.GetId()].Platform()
		for _, name := range imageNames(image) {
			rows = append(rows, t.columns(name[0], name[1], o.shown(digest), o.shown(image.GetId()), size(image.GetSize()),
				strconv.FormatBool(image.GetPinned()), platform, usedBy(image, t.users[image.GetId()]), t.unusedFor(image.GetId(), now), t.emulation.fate(platform)))
		}
	}
	if t.sort == "name" && !t.unused {
		slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+" "+a[1], b[0]+" "+b[1]) })
	}
	return append([][]string{t.columns("IMAGE", "TAG", "DIGEST", "IMAGE ID", "SIZE", "PINNED", "PLATFORM", "USED BY", "UNUSED FOR", "HERE")}, rows...)
}

// columns takes those out of a row that were not asked for.
func (t *imageTable) columns(row ...string) []string {
	for _, c := range []struct {
		at    int
		shown bool
	}{{9, t.wrongPlatform}, {8, t.unused}, {5, t.pinned}, {2, t.digests}} {
		if !c.shown {
			row = slices.Delete(row, c.at, c.at+1)
		}
	}
	return row
}

// imageNames are the repositories and tags of an image, <none> where it has none.
func imageNames(image *runtimeapi.Image) (names [][2]string) {
	for _, text := range image.GetRepoTags() {
		if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, '/') {
			names = append(names, [2]string{text[:i], text[i+1:]})
		}
	}
	if len(names) == 0 {
		repository := "<none>"
		if list := image.GetRepoDigests(); len(list) > 0 {
			repository, _, _ = strings.Cut(list[0], "@")
		}
		names = append(names, [2]string{repository, "<none>"})
	}
	return names
}
