"""What a deploy created, and calls of it, in the words of Modal's protocol."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from modal_proto import api_pb2

Result = api_pb2.GenericResult


@dataclass
class Call:
    """One function call with its one input."""

    id: str
    function_id: str
    input: api_pb2.FunctionInput
    kind: api_pb2.FunctionCallInvocationType.ValueType
    tries: int = 0
    task: str = ""
    """The container that has it; empty while it waits."""
    output: api_pb2.FunctionGetOutputsItem | None = None
    cancelled: bool = False

    @property
    def input_id(self) -> str:
        return self.id.replace("fc-", "in-")

    def end(self, result: Result, data_format: api_pb2.DataFormat.ValueType = api_pb2.DATA_FORMAT_UNSPECIFIED) -> None:
        if self.output is None:
            self.output = api_pb2.FunctionGetOutputsItem(
                result=result, input_id=self.input_id, data_format=data_format, output_created_at=time.time()
            )


@dataclass
class Deployed:
    """What a deploy created."""

    app_id: str = "ap-1"
    name: str = ""
    functions: dict[str, api_pb2.FunctionCreateRequest] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    function_ids: dict[str, str] = field(default_factory=dict)
    images: list[api_pb2.ImageGetOrCreateRequest] = field(default_factory=list)
    mounts: list[api_pb2.MountGetOrCreateRequest] = field(default_factory=list)
    secrets: list[api_pb2.SecretGetOrCreateRequest] = field(default_factory=list)


def function_of(request: api_pb2.FunctionCreateRequest) -> Any:
    """The definition, which a client with a list of GPUs sends in another place: its first choice stands for it."""
    if not request.HasField("function_data"):
        return request.function
    function = api_pb2.Function()
    function.CopyFrom(request.function_data.ranked_functions[0].function)
    return function


def data_of(request: api_pb2.FunctionCreateRequest) -> api_pb2.FunctionData:
    """What a client of today reads, also of a function with one kind of machine."""
    data = api_pb2.FunctionData()
    data.CopyFrom(request.function_data)
    if not data.ranked_functions:
        data.ranked_functions.add(rank=1, function=request.function)
    return data


def metadata_of(name: str, function: Any) -> api_pb2.FunctionHandleMetadata:
    metadata = api_pb2.FunctionHandleMetadata(
        function_name=name,
        function_type=function.function_type,
        supported_input_formats=function.supported_input_formats,
        supported_output_formats=function.supported_output_formats,
    )
    for method, definition in function.method_definitions.items():
        metadata.method_handle_metadata[method].CopyFrom(
            api_pb2.FunctionHandleMetadata(
                function_name=definition.function_name,
                function_type=definition.function_type,
                is_method=True,
                use_method_name=method,
                supported_input_formats=definition.supported_input_formats,
                supported_output_formats=definition.supported_output_formats,
            )
        )
    return metadata
