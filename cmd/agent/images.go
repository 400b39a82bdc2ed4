package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func imagesCommand(p *program) *cobra.Command {
	var o output
	var digests, pinned bool
	var filters []string
	cmd := &cobra.Command{
		Use:     "images [NAME]",
		Aliases: []string{"image", "img"},
		Short:   "List the images on this node",
		Long: `Lists the images on this node as the container runtime knows them; with a name only those of that repository or reference. Flags and
columns are those of crictl.

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
				return pinned && !image.GetPinned() || len(args) > 0 && !named(image, args[0]) || !keep(image)
			})
			return p.printImages(&o, images, digests)
		},
	}
	o.flags(cmd.Flags(), "print only image IDs")
	cmd.Flags().BoolVar(&digests, "digests", false, "show digests")
	cmd.Flags().BoolVar(&pinned, "pinned", false, "only images that are pinned: garbage collection leaves them")
	cmd.Flags().StringArrayVarP(&filters, "filter", "f", nil, "only images that match: dangling=true|false, reference=REGULAR-EXPRESSION (repeatable)")
	cmd.Flags().BoolVar(&o.noTrunc, "no-trunc", false, "show whole IDs and digests")
	return cmd
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

func (p *program) printImages(o *output, images []*runtimeapi.Image, digests bool) error {
	if o.format != "table" {
		text, err := protojson.MarshalOptions{Multiline: true, Indent: "  ", EmitUnpopulated: true}.
			Marshal(&runtimeapi.ListImagesResponse{Images: images})
		if err != nil {
			return err
		}
		return o.raw(p.stdout, text)
	}
	if o.quiet {
		for _, image := range images {
			if _, err := fmt.Fprintln(p.stdout, clean(image.GetId())); err != nil {
				return err
			}
		}
		return nil
	}
	heading := []string{"IMAGE", "TAG", "IMAGE ID", "SIZE"}
	if digests {
		heading = []string{"IMAGE", "TAG", "DIGEST", "IMAGE ID", "SIZE"}
	}
	var rows [][]string
	for _, image := range images {
		id, digest := image.GetId(), "<none>"
		if list := image.GetRepoDigests(); len(list) > 0 {
			_, digest, _ = strings.Cut(list[0], "@")
		}
		if !o.noTrunc {
			id, digest = truncated(id), truncated(digest)
		}
		for _, name := range imageNames(image) {
			row := []string{name[0], name[1], id, size(image.GetSize())}
			if digests {
				row = []string{name[0], name[1], digest, id, size(image.GetSize())}
			}
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+" "+a[1], b[0]+" "+b[1]) })
	return table(p.stdout, append([][]string{heading}, rows...))
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

// truncated is an ID as crictl shows it: the first 13 hex digits.
func truncated(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 13)]
}
