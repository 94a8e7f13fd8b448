// Package k8s finds the members of a covey group by a Kubernetes service. It watches the service's
// EndpointSlices, so that a new pod is known within milliseconds where DNS takes seconds, and pods
// that are not ready yet find each other whatever the service publishes. It needs nothing but the
// standard library.
//
// The pod's service account has to be allowed to get, list and watch endpointslices in the group
// discovery.k8s.io of the service's namespace:
//
//	kind: Role
//	apiVersion: rbac.authorization.k8s.io/v1
//	metadata: {name: covey}
//	rules:
//	  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
package k8s
