"""The pages of the shop."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path


def who(request: HttpRequest) -> JsonResponse:
    user: Any = request.user
    return JsonResponse(
        {
            "user": user.get_username(),
            "is_authenticated": user.is_authenticated,
            "groups": request.META.get("HTTP_X_USER_GROUPS"),
            "authorization": request.META.get("HTTP_AUTHORIZATION"),
            "is_secure": request.is_secure(),
            "id": user.pk,
        }
    )


@login_required
def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {request.user.get_username()} only")


def form(request: HttpRequest) -> JsonResponse:
    upload = request.FILES["document"]
    return JsonResponse({"title": request.POST["title"], "bytes": upload.size, "method": request.method})


def lines(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse((f"line {number}\n" for number in range(1000)), content_type="text/plain")


def cookie(request: HttpRequest) -> HttpResponse:
    answer = HttpResponse("set")
    answer.set_cookie("theme", "dark")
    answer.set_cookie("language", "en")
    return answer


urlpatterns = [
    path("django/who", who),
    path("django/private", private),
    path("django/form", form),
    path("django/lines", lines),
    path("django/cookie", cookie),
    path("django/public/who", who),
]
