package filled

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/pullwatch/pullwatch/test/node"
)

// figures are numbers by name: bytes, inodes, percent.
type figures map[string]int64

// asks asks the kubelet on its own port.
type asks struct {
	n      *node.Node
	client http.Client
	token  string
}

func newAsks(n *node.Node) (*asks, error) {
	config, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig(node.Admin))
	if err != nil {
		return nil, err
	}
	a := &asks{n: n, token: config.BearerToken}
	certificate, err := os.ReadFile(a.certificate())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificate) {
		return nil, errors.New("the kubelet's certificate is none")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: n.NodeName}}
	a.client = http.Client{Transport: transport, Timeout: 10 * time.Second}
	return a, nil
}

// certificate is the file of the kubelet's own, which it has signed itself.
func (a *asks) certificate() string { return filepath.Join(a.n.Dir, "kubelet", "pki", "kubelet.crt") }

func (a *asks) get(ctx context.Context, path string, to any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+a.n.Addr(node.PartKubelet)+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, to)
	}
	return err
}

// summary is what /stats/summary says of the filesystem of images.
func (a *asks) summary(ctx context.Context) (figures, error) {
	var s struct {
		Node struct {
			Runtime struct {
				ImageFs struct{ CapacityBytes, AvailableBytes, Inodes, InodesFree *int64 }
			}
		}
	}
	if err := a.get(ctx, "/stats/summary", &s); err != nil {
		return nil, err
	}
	said := figures{}
	fs := s.Node.Runtime.ImageFs
	for name, value := range map[string]*int64{
		"sizeBytes": fs.CapacityBytes, "availableBytes": fs.AvailableBytes, "inodes": fs.Inodes, "inodesFree": fs.InodesFree,
	} {
		if value != nil {
			said[name] = *value
		}
	}
	return said, nil
}

// configz is the kubelet's configuration in force.
func (a *asks) configz(ctx context.Context) (map[string]any, error) {
	var c struct{ Kubeletconfig map[string]any }
	err := a.get(ctx, "/configz", &c)
	return c.Kubeletconfig, err
}
