package chart

import (
	"context"
	"fmt"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	batchvalidation "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	gatewayalpha "sigs.k8s.io/gateway-api/apis/v1alpha2"
)

// What the API server has for the kinds of the chart, whose own checks these are.
var strategies = map[string]rest.RESTCreateUpdateStrategy{
	"Deployment":              deployment.Strategy,
	"StatefulSet":             statefulset.Strategy,
	"HorizontalPodAutoscaler": horizontalpodautoscaler.Strategy,
	"NetworkPolicy":           networkpolicy.Strategy,
	"PodDisruptionBudget":     poddisruptionbudget.Strategy,
}

// Other makers' kinds: their fields are checked, and what may stand in them is not.
var othersKinds = map[string]bool{
	"Certificate": true, "Issuer": true, "ServiceMonitor": true, "PrometheusRule": true, "TLSRoute": true, "TCPRoute": true,
}

var scheme = func() *runtime.Scheme {
	scheme := legacyscheme.Scheme
	utilruntime.Must(certmanager.AddToScheme(scheme))
	utilruntime.Must(monitoring.AddToScheme(scheme))
	utilruntime.Must(gateway.Install(scheme))
	utilruntime.Must(gatewayalpha.Install(scheme))
	return scheme
}()

// Refuses a field that no kind has, and one that stands twice.
var decoder = serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()

// decode reads an object as Kubernetes publishes it, without what it leaves to defaults.
func decode(manifest string) (runtime.Object, error) {
	object, _, err := decoder.Decode([]byte(manifest), nil, nil)
	return object, err
}

// validate returns what Kubernetes says against the creation of an object: errors and warnings.
func validate(manifest string) []string {
	object, err := decode(manifest)
	if err != nil {
		return []string{err.Error()}
	}
	kind := object.GetObjectKind().GroupVersionKind()
	if othersKinds[kind.Kind] {
		return nil
	}
	internal, err := receive(object)
	if err != nil {
		return []string{err.Error()}
	}
	if strategy, isThere := strategies[kind.Kind]; isThere {
		ctx := requestContext(kind, "create")
		if err := rest.BeforeCreate(strategy, ctx, internal); err != nil {
			return []string{err.Error()}
		}
		return strategy.WarningsOnCreate(ctx, internal)
	}
	return validateCore(internal)
}

func isOfOthers(manifest string) bool {
	object, err := decode(manifest)
	return err == nil && othersKinds[object.GetObjectKind().GroupVersionKind().Kind]
}

// receive returns an object as the API server has it once it was read.
func receive(object runtime.Object) (runtime.Object, error) {
	scheme.Default(object)
	internal, err := scheme.ConvertToVersion(object, runtime.InternalGroupVersioner)
	if err != nil {
		return nil, err
	}
	accessor, err := meta.Accessor(internal)
	if err != nil {
		return nil, err
	}
	rest.FillObjectMetaSystemFields(accessor)
	return internal, nil
}

func requestContext(kind schema.GroupVersionKind, verb string) context.Context {
	ctx := request.WithNamespace(context.Background(), namespace)
	return request.WithRequestInfo(ctx, &request.RequestInfo{APIGroup: kind.Group, APIVersion: kind.Version, Verb: verb})
}

// validateChange returns what Kubernetes says against the change of an object.
func validateChange(before, after string) error {
	var objects []runtime.Object
	var kind schema.GroupVersionKind
	for _, manifest := range []string{before, after} {
		object, err := decode(manifest)
		if err != nil {
			return err
		}
		kind = object.GetObjectKind().GroupVersionKind()
		internal, err := receive(object)
		if err != nil {
			return err
		}
		accessor, err := meta.Accessor(internal)
		if err != nil {
			return err
		}
		accessor.SetResourceVersion("1")
		accessor.SetUID("")
		accessor.SetCreationTimestamp(metav1.Time{})
		objects = append(objects, internal)
	}
	if service, isService := objects[1].(*core.Service); isService {
		before := objects[0].(*core.Service)
		assignAddresses(before)
		assignAddresses(service)
		return corevalidation.ValidateServiceUpdate(service, before).ToAggregate()
	}
	strategy, isThere := strategies[kind.Kind]
	if !isThere {
		return nil
	}
	return rest.BeforeUpdate(strategy, requestContext(kind, "update"), objects[1], objects[0])
}

// validateCore is for the kinds whose strategies would bring half of Kubernetes with them.
func validateCore(object runtime.Object) []string {
	var problems []string
	switch object := object.(type) {
	case *core.ConfigMap:
		for _, problem := range corevalidation.ValidateConfigMap(object) {
			problems = append(problems, problem.Error())
		}
	case *core.ServiceAccount:
		for _, problem := range corevalidation.ValidateServiceAccount(object) {
			problems = append(problems, problem.Error())
		}
	case *core.Service:
		assignAddresses(object)
		for _, problem := range corevalidation.ValidateServiceCreate(object) {
			problems = append(problems, problem.Error())
		}
	case *core.Pod:
		options := podutil.GetValidationOptionsFromPodSpecAndMeta(&object.Spec, nil, &object.ObjectMeta, nil)
		for _, problem := range corevalidation.ValidatePodCreate(object, options) {
			problems = append(problems, problem.Error())
		}
	case *batch.Job:
		// The API server makes the selector: a job is checked as one that still lacks it.
		spec := batch.JobTemplateSpec{Spec: object.Spec}
		pod := object.Spec.Template
		options := podutil.GetValidationOptionsFromPodTemplate(&pod, nil)
		found := corevalidation.ValidateObjectMeta(&object.ObjectMeta, true, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
		found = append(found, batchvalidation.ValidateJobTemplateSpec(&spec, nil, nil, options)...)
		for _, problem := range found {
			problems = append(problems, problem.Error())
		}
	default:
		problems = append(problems, fmt.Sprintf("nobody has said how a %T is checked", object))
	}
	return problems
}

// assignAddresses does what the API server does before it checks a service.
func assignAddresses(service *core.Service) {
	if service.Spec.ClusterIP != "" {
		service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	}
	if service.Spec.Type == core.ServiceTypeLoadBalancer && service.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
		service.Spec.HealthCheckNodePort = 30000
	}
}
