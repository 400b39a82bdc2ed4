package node

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (n *Node) criConn() *grpc.ClientConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cri == nil {
		conn, err := grpc.NewClient(n.CRISocket(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
		if err != nil {
			panic("grpc refuses an address of our own making: " + err.Error())
		}
		n.cri = conn
	}
	return n.cri
}

func (n *Node) runtimeService() runtimeapi.RuntimeServiceClient {
	return runtimeapi.NewRuntimeServiceClient(n.criConn())
}

func (n *Node) imageService() runtimeapi.ImageServiceClient {
	return runtimeapi.NewImageServiceClient(n.criConn())
}

func (n *Node) closeClients() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cri != nil {
		_ = n.cri.Close()
		n.cri = nil
	}
}

// PullImage has containerd pull, without the kubelet.
func (n *Node) PullImage(ctx context.Context, ref string) error {
	_, err := n.imageService().PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	return nil
}

// PullTags pushes count distinct images and has containerd pull them, as on a node that has seen many deployments.
func (n *Node) PullTags(ctx context.Context, count int) error {
	refs, err := n.PushTags(ctx, count)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(6)
	for _, ref := range refs {
		g.Go(func() error { return n.PullImage(ctx, ref) })
	}
	return g.Wait()
}

// RemoveImage removes an image from containerd.
func (n *Node) RemoveImage(ctx context.Context, ref string) error {
	_, err := n.imageService().RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	return nil
}

// podsWithSandbox are the UIDs of the pods that have got past their sandbox.
func (n *Node) podsWithSandbox(ctx context.Context) (map[string]bool, error) {
	list, err := n.runtimeService().ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, err
	}
	uids := map[string]bool{}
	for _, s := range list.Items {
		uids[s.GetMetadata().GetUid()] = true
	}
	return uids, nil
}
