package cri_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/pullwatch/pullwatch/pkg/cri"
	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

func TestConformanceOfFakes(t *testing.T) {
	for _, flavor := range critest.Flavors() {
		t.Run(string(flavor), func(t *testing.T) {
			r := critest.Start(t, flavor)
			target := critest.Target{
				Client:       dial(t, cri.Config{Runtime: r.Endpoint()}),
				Name:         "containerd",
				Present:      critest.Registry + "/pause:armonly",
				PresentOS:    "linux",
				PresentArch:  "arm64",
				Absent:       critest.Registry + "/pause:gone",
				Pullable:     critest.Registry + "/pause:3.9",
				NotFound:     critest.Registry + "/pause:3.1O",
				NotFoundCode: codes.NotFound,
				NotFoundText: critest.Registry + "/pause:3.1O: not found",
				Stall: func(*testing.T) func() {
					r.SetHang(true)
					return func() { r.SetHang(false) }
				},
			}
			if flavor == critest.CRIO {
				target.Name = "cri-o"
				target.NotFoundCode = codes.Unknown
				target.NotFoundText = "manifest unknown"
			}
			critest.Conformance(t, target)
		})
	}
}

// TestConformanceOfRuntime runs against a runtime that a person has prepared:
//
//	PULLWATCH_CRI_ENDPOINT  its socket
//	PULLWATCH_CRI_REGISTRY  a registry with pause:armonly (pulled already),
//	                        pause:3.9 (not pulled) and no pause:3.1O
//	PULLWATCH_CRI_PID       its process, to be stopped and continued (optional)
func TestConformanceOfRuntime(t *testing.T) {
	endpoint, registry := os.Getenv("PULLWATCH_CRI_ENDPOINT"), os.Getenv("PULLWATCH_CRI_REGISTRY")
	if endpoint == "" || registry == "" {
		t.Skip("PULLWATCH_CRI_ENDPOINT and PULLWATCH_CRI_REGISTRY name no runtime")
	}
	target := critest.Target{
		Client:       dial(t, cri.Config{Runtime: endpoint}),
		Name:         "containerd",
		Present:      registry + "/pause:armonly",
		PresentOS:    "linux",
		PresentArch:  "arm64",
		Absent:       registry + "/pause:gone",
		Pullable:     registry + "/pause:3.9",
		NotFound:     registry + "/pause:3.1O",
		NotFoundCode: codes.NotFound,
		NotFoundText: registry + "/pause:3.1O: not found",
	}
	if pid, err := strconv.Atoi(os.Getenv("PULLWATCH_CRI_PID")); err == nil && pid > 1 {
		target.Stall = func(t *testing.T) func() {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
		}
	}
	critest.Conformance(t, target)
}
