"""The machine of test_stateful with a GPU provider of moods: answers to hand-overs and words on calls, in any order."""

from __future__ import annotations

from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from tessera import budget

from tests.crashlab import gpu
from tests.crashlab.gpu import Answer, Word
from tests.integration.test_stateful import EXAMPLES, PROFILE, SETTINGS, Deployment


class WithProvider(Deployment):
    SETTINGS = SETTINGS | gpu.SETTINGS

    @property
    def provider(self) -> gpu.Gpu:
        assert self.client.gpu is not None
        return self.client.gpu

    def settle(self) -> None:
        self.provider.word = "pending"
        super().settle()

    @rule(mood=st.sampled_from(get_args(Answer)), word=st.sampled_from(get_args(Word)))
    def moods_change(self, mood: Answer, word: Word) -> None:
        self.provider.mood, self.provider.word = mood, word

    @rule(paused=st.booleans())
    def a_pause_begins_or_ends(self, paused: bool) -> None:
        budget.pause(self.simulation.world.services.table, paused)


WithProvider.TestCase.settings = settings(PROFILE, max_examples=max(4, EXAMPLES // 4))
TestWithProvider = WithProvider.TestCase
del Deployment
