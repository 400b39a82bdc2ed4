package node

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CreatePullSecret makes, or replaces, a pull secret for the private registry in the default namespace.
func (n *Node) CreatePullSecret(ctx context.Context, name, password string) error {
	conf, err := json.Marshal(map[string]any{"auths": map[string]any{
		n.PrivateRegistry().Addr: map[string]string{"username": PrivateUser, "password": password},
	}})
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: conf},
	}
	secrets := n.Client().CoreV1().Secrets(metav1.NamespaceDefault)
	_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write secret %s: %w", name, err)
	}
	return nil
}
