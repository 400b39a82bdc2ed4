package agent

import (
	"context"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullwatch/pullwatch/internal/pulls"
)

// checkImages lists the images, from which the established registries are known, and the containers, from which it is known who uses them.
func (a *Agent) checkImages(ctx context.Context) error {
	err := a.listImages(ctx)
	if err != nil {
		before := *a.snapshot.images.Load()
		before.Error = err.Error()
		a.snapshot.images.Store(&before)
	}
	return err
}

func (a *Agent) listImages(ctx context.Context) error {
	client, _, err := a.runtime.get()
	if err != nil {
		return err
	}
	images, err := client.ListImages(ctx)
	if err != nil {
		return err
	}
	containers, err := client.ListContainers(ctx)
	if err != nil {
		return err
	}
	a.snapshot.images.Store(&Part[Images]{Value: Images{Count: len(images), Registries: a.registriesOf(images)}, At: time.Now()})
	a.images.use(usedImages(images, containers))
	a.metrics.SetEstablished(a.established())
	a.publishFacts()
	return nil
}

// registriesOf names the registries that images came from. A digest that was not there before is a pull that worked.
func (a *Agent) registriesOf(images []*runtimeapi.Image) (registries []string) {
	seen, digests := make(map[string]bool), make(map[string]bool)
	for _, image := range images {
		// A digest is recorded by a pull; a tag alone may have been imported under any name.
		for _, name := range image.GetRepoDigests() {
			registry := pulls.Registry(name)
			if registry == "" {
				continue
			}
			digests[name] = true
			if a.digests != nil && !a.digests[name] {
				a.registries.sawPull(registry, time.Now())
			}
			if !seen[registry] {
				seen[registry] = true
				registries = append(registries, registry)
			}
		}
	}
	a.digests = digests
	slices.Sort(registries)
	return registries
}
