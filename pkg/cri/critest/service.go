package critest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type runtimeService struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	r *Runtime
}

// Version answers as the flavor does.
func (s *runtimeService) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version:           "0.1.0", // the kubelet's API version, the same since ever
		RuntimeName:       s.r.manners.name,
		RuntimeVersion:    s.r.manners.version,
		RuntimeApiVersion: "v1",
	}, nil
}

// Status answers the conditions, and the information when verbose.
func (s *runtimeService) Status(_ context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	resp := &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: slices.Clone(s.r.state.conditions)},
	}
	if req.GetVerbose() {
		resp.Info = maps.Clone(s.r.state.info)
	}
	return resp, nil
}

// ListContainers answers all containers, whatever the filter.
func (s *runtimeService) ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return &runtimeapi.ListContainersResponse{Containers: slices.Clone(s.r.state.containers)}, nil
}

// ListPodSandbox answers all sandboxes, whatever the filter.
func (s *runtimeService) ListPodSandbox(context.Context, *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return &runtimeapi.ListPodSandboxResponse{Items: slices.Clone(s.r.state.sandboxes)}, nil
}

type imageService struct {
	runtimeapi.UnimplementedImageServiceServer
	r *Runtime
}

// ListImages answers all images, or the one that the filter names.
func (s *imageService) ListImages(_ context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.state.oversized {
		return oversizedList(), nil
	}
	resp := &runtimeapi.ListImagesResponse{}
	only := req.GetFilter().GetImage().GetImage()
	for _, i := range s.r.state.images {
		if only == "" || only == s.r.manners.id(i) || slices.Contains(i.Tags, only) || slices.Contains(i.Digests, only) {
			resp.Images = append(resp.Images, s.r.manners.render(i))
		}
	}
	return resp, nil
}

// oversizedList is a list just above 16 MiB of images that have many names.
func oversizedList() *runtimeapi.ListImagesResponse {
	name := "127.0.0.1:5000/" + strings.Repeat("x", 1<<10)
	tags := slices.Repeat([]string{name}, 1<<10)
	resp := &runtimeapi.ListImagesResponse{}
	for n := range 16 {
		resp.Images = append(resp.Images, &runtimeapi.Image{Id: fmt.Sprintf("%064x", n), RepoTags: tags, Size: 1})
	}
	return resp
}

// ImageStatus answers an empty message for an image that is not there.
func (s *imageService) ImageStatus(_ context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	ref := req.GetImage().GetImage()
	m := s.r.manners
	if ref == "" && m.name == "containerd" {
		return nil, status.Error(codes.Unknown, `can not resolve "" locally: ambiguous digest string`)
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	image, ok := s.r.state.find(ref)
	if !ok {
		if named, err := reference.ParseDockerRef(ref); err == nil {
			image, ok = s.r.state.find(named.String())
		}
	}
	resp := &runtimeapi.ImageStatusResponse{}
	if !ok {
		return resp, nil
	}
	resp.Image = m.render(image)
	if m.name == "cri-o" {
		resp.Image.Spec = &runtimeapi.ImageSpec{} // its list has none
	}
	if req.GetVerbose() {
		resp.Info = map[string]string{"info": m.imageInfo(image)}
	}
	return resp, nil
}

// PullImage asks the script, then the flavor's table.
func (s *imageService) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	ref := req.GetImage().GetImage()
	s.r.mu.Lock()
	pull, scripted := s.r.state.pulls[ref]
	a := asked{s.r.state.secure, req.GetAuth()}
	s.r.mu.Unlock()
	if !scripted {
		pull = s.r.manners.pull(ref, a)
	}
	if err := wait(ctx, pull.Took); err != nil {
		return nil, err
	}
	if pull.Image == nil {
		code := pull.Code
		if code == codes.OK {
			code = codes.Unknown
		}
		return nil, status.Error(code, pull.Text)
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.state.add(*pull.Image)
	return &runtimeapi.PullImageResponse{ImageRef: s.r.manners.id(*pull.Image)}, nil
}

// ImageFsInfo answers what was set, or the flavor's own.
func (s *imageService) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.r.state.fs, nil
}

// render writes an image as the flavor does.
func (m manners) render(i Image) *runtimeapi.Image {
	return &runtimeapi.Image{
		Id:          m.id(i),
		RepoTags:    slices.Clone(i.Tags),
		RepoDigests: slices.Clone(i.Digests),
		Size:        i.Size,
		Pinned:      i.Pinned,
	}
}

// id writes an image's identifier: containerd with the algorithm, CRI-O
// without.
func (m manners) id(i Image) string { return m.idPrefix + i.ID }

// imageInfo is info["info"] of a verbose ImageStatus. Both write the OCI image
// configuration; containerd adds the chain.
func (m manners) imageInfo(i Image) string {
	const diff = "sha256:7fe97f7938adda90e81b37165ee8e27a9d2940a1fdf79854c43b2f52675c90ba"
	type history struct {
		Created string `json:"created"`
	}
	type spec struct {
		Created      string              `json:"created"`
		Architecture string              `json:"architecture"`
		Variant      string              `json:"variant,omitempty"`
		OS           string              `json:"os"`
		Config       map[string][]string `json:"config"`
		RootFS       map[string]any      `json:"rootfs"`
		History      []history           `json:"history"`
	}
	info := struct {
		ChainID   string `json:"chainID,omitempty"`
		ImageSpec spec   `json:"imageSpec"`
	}{ImageSpec: spec{
		Created:      "0001-01-01T00:00:00Z",
		Architecture: i.Architecture,
		Variant:      i.Variant,
		OS:           i.OS,
		Config:       map[string][]string{"Entrypoint": {"/pause"}},
		RootFS:       map[string]any{"type": "layers", "diff_ids": []string{diff}},
		History:      []history{{"0001-01-01T00:00:00Z"}},
	}}
	if m.name == "containerd" {
		info.ChainID = diff
	}
	text, err := json.Marshal(info)
	if err != nil {
		panic(err) // these types always marshal
	}
	return string(text)
}
