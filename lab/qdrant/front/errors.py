"""Failures with the HTTP status and the wording that Qdrant gives them."""

# Named after their status, not as errors.
# ruff: noqa: N818


class ApiError(Exception):
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(ApiError):
    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(
            message if message.startswith("Wrong input") else f"Bad request: {message}"
        )


class NotFound(ApiError):
    status = 404

    def __init__(self, message: str) -> None:
        super().__init__(f"Not found: {message}")


class Conflict(ApiError):
    status = 409

    def __init__(self, message: str) -> None:
        super().__init__(f"Wrong input: {message}")


class NotOffered(ApiError):
    status = 501

    def __init__(self, what: str) -> None:
        super().__init__(f"the lab's Qdrant front does not offer {what}")
