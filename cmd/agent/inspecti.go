package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/pkg/cri"
)

// imageDetails is what the runtime tells of one image.
type imageDetails struct {
	image *runtimeapi.Image
	info  map[string]string // JSON, or a bare text
}

func inspectiCommand(p *program) *cobra.Command {
	o := output{format: "json"}
	var name string
	var filters []string
	cmd := &cobra.Command{
		Use:   "inspecti [IMAGE...]",
		Short: "Show all that the runtime knows of images",
		Long: `Shows images by reference or ID, or those that --name and --filter leave; with neither, all. Flags and output are those of crictl: one
image is an object, more are a list.

Exit codes: 0; 1 an image is not on this node; 2 could not tell or wrong use.`,
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
			if len(args) == 0 {
				images, err := client.ListImages(cmd.Context())
				if err != nil {
					return err
				}
				for _, image := range images {
					if (name == "" || named(image, name)) && keep(image) {
						args = append(args, image.GetId())
					}
				}
			}
			found, missing, err := details(cmd.Context(), client, args, !o.quiet)
			if err != nil {
				return err
			}
			if err := p.printDetails(&o, found); err != nil {
				return err
			}
			for _, image := range missing {
				p.complain(&usageError{fmt.Sprintf("no such image %q on this node", image), `"pullwatch images" lists those that are.`})
			}
			switch {
			case len(missing) > 0:
				return errNotFine
			case len(found) == 0:
				p.complain(&usageError{"no image matches", `"pullwatch images" lists those that are on this node.`})
				return errNotFine
			}
			return nil
		},
	}
	o.flags(cmd.Flags(), "leave out what only this runtime tells (the image's configuration)")
	cmd.Flags().StringVar(&name, "name", "", "only images of this repository or reference")
	filterFlag(cmd.Flags(), &filters)
	return cmd
}

// details looks images up. Those that are not there are missing.
func details(ctx context.Context, client *cri.Client, names []string, verbose bool) (found []imageDetails, missing []string, _ error) {
	for _, name := range names {
		image, info, err := client.ImageStatus(ctx, name, verbose)
		switch {
		case err != nil:
			return nil, nil, err
		case image == nil:
			missing = append(missing, name)
		default:
			found = append(found, imageDetails{image, info})
		}
	}
	return found, missing, nil
}

func (p *program) printDetails(o *output, found []imageDetails) error {
	if o.format == "table" {
		for _, d := range found {
			if err := d.table(p.stdout); err != nil {
				return err
			}
		}
		return nil
	}
	values := make([]any, 0, len(found))
	for _, d := range found {
		value, err := statusValue(d.image, d.info)
		if err != nil {
			return err
		}
		values = append(values, value)
	}
	switch len(values) {
	case 0:
		return nil
	case 1:
		return o.data(p.stdout, values[0])
	}
	return o.data(p.stdout, values)
}

func (d *imageDetails) table(w io.Writer) error {
	texts := []string{"ID: " + d.image.GetId()}
	for _, tag := range d.image.GetRepoTags() {
		texts = append(texts, "Tag: "+tag)
	}
	for _, digest := range d.image.GetRepoDigests() {
		texts = append(texts, "Digest: "+digest)
	}
	texts = append(texts, "Size: "+size(d.image.GetSize()))
	if len(d.info) > 0 {
		texts = append(texts, "Platform: "+cri.ReadImageConfig(d.info).Platform())
	}
	for _, key := range sortedKeys(d.info) {
		texts = append(texts, "Info: "+key+": "+d.info[key])
	}
	return lines(w, texts)
}

// statusValue is an answer of the runtime as crictl shows it: the message under "status" beside what the runtime told in its own words,
// all in the order of the alphabet.
func statusValue(message proto.Message, info map[string]string) (map[string]any, error) {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	value := make(map[string]any)
	for key, text := range info {
		value[key] = jsonValue([]byte(text))
	}
	value["status"] = jsonValue(text)
	return value, nil
}

// jsonValue reads a JSON object with its numbers as they are. Another text is that text.
func jsonValue(text []byte) any {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil || object == nil {
		return strings.Trim(string(text), `"`)
	}
	return object
}
