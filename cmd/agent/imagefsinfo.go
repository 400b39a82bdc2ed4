package main

import (
	"fmt"

	"github.com/spf13/cobra"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func imageFsInfoCommand(p *program) *cobra.Command {
	o := output{format: "json"}
	cmd := &cobra.Command{
		Use:   "imagefsinfo",
		Short: "Show where images are kept and how much they use",
		Long: `Shows what the runtime tells of the filesystems of images and of containers. Flags and output are those of crictl.

The bytes are those that the runtime counts: containerd leaves out the compressed layers that it keeps, CRI-O all but its index. What is
free, df tells of the mount point.

Exit codes: 0; 2 could not tell or wrong use.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			client, _, err := p.settings.runtime()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			info, err := client.ImageFsInfo(cmd.Context())
			if err != nil {
				return err
			}
			if o.format == "table" {
				return lines(p.stdout, append(fsLines("Container", info.GetContainerFilesystems()), fsLines("Image", info.GetImageFilesystems())...))
			}
			value, err := statusValue(info, nil)
			if err != nil {
				return err
			}
			return o.data(p.stdout, value)
		},
	}
	o.flags(cmd.Flags(), "")
	return cmd
}

// fsLines are filesystems as crictl lists them.
func fsLines(what string, all []*runtimeapi.FilesystemUsage) []string {
	texts := []string{what + " Filesystem"}
	for i, fs := range all {
		texts = append(texts,
			fmt.Sprintf("TimeStamp[%d]: %d", i, fs.GetTimestamp()),
			fmt.Sprintf("Disk[%d]: %s", i, size(fs.GetUsedBytes().GetValue())),
			fmt.Sprintf("Inodes[%d]: %d", i, fs.GetInodesUsed().GetValue()),
			fmt.Sprintf("Mountpoint[%d]: %s", i, fs.GetFsId().GetMountpoint()))
	}
	return texts
}
