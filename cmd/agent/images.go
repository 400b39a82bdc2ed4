package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
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
USED BY is a pod with a container of the image, running or exited, and how many more there are; such an image is not garbage to the
kubelet, nor is one that the runtime has pinned. Who mounts an image as a volume is not seen.

Exit codes: 0; 2 could not tell or wrong use.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
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
			t.ask(cmd.Context(), p, client, images)
			return table(p.stdout, t.rows(&o, images))
		},
	}
	o.flags(cmd.Flags(), "print only image IDs")
	cmd.Flags().BoolVar(&t.digests, "digests", false, "show digests")
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
	configs         []cri.ImageConfig   // of each image
	users           map[string][]string // of each image's ID
}

// ask fills in what the list of images does not tell. What cannot be seen costs its own cells and a note.
func (t *imageTable) ask(ctx context.Context, p *program, client *cri.Client, images []*runtimeapi.Image) {
	var err error
	if t.configs, err = imageConfigs(ctx, client, images); err != nil {
		p.note("Not known: the platform of some images: %v", err)
	}
	containers, err := client.ListContainers(ctx)
	if err != nil {
		p.note("Not known: who uses the images: %v", err)
	}
	t.users = cri.UsersOf(images, containers)
}

// rows are crictl's columns first, so that a script which cuts them finds them where they were, and then ours.
func (t *imageTable) rows(o *output, images []*runtimeapi.Image) [][]string {
	var rows [][]string
	for i, image := range images {
		digest := "<none>"
		if list := image.GetRepoDigests(); len(list) > 0 {
			_, digest, _ = strings.Cut(list[0], "@")
		}
		for _, name := range imageNames(image) {
			rows = append(rows, t.columns(name[0], name[1], o.shown(digest), o.shown(image.GetId()), size(image.GetSize()),
				strconv.FormatBool(image.GetPinned()), t.configs[i].Platform(), usedBy(image, t.users[image.GetId()])))
		}
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+" "+a[1], b[0]+" "+b[1]) })
	return append([][]string{t.columns("IMAGE", "TAG", "DIGEST", "IMAGE ID", "SIZE", "PINNED", "PLATFORM", "USED BY")}, rows...)
}

// columns takes those out of a row that were not asked for.
func (t *imageTable) columns(row ...string) []string {
	if !t.pinned {
		row = slices.Delete(row, 5, 6)
	}
	if !t.digests {
		row = slices.Delete(row, 2, 3)
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
