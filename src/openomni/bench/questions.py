"""What the synthetic callers say, in the order in which they ask; from one second to twelve."""

from __future__ import annotations

QUESTIONS = (
    "What is the capital of Italy?",
    "How many days are there in a leap year?",
    "Why does the moon look so much larger when it stands close to the horizon in the evening?",
    "Who wrote Romeo and Juliet?",
    "Could you explain in simple words how a battery stores energy and gives it back when I switch on the light?",
    "What should I cook tonight, when all that I have left is rice, two eggs and half a cabbage?",
    "Is it safe to drink water straight from a mountain stream, or should I boil it first?",
    "How far away is the sun?",
    "My neighbour has given me a basket of apples from her garden, and I would like to bake something for the children "
    "before they come home from school, so what would you suggest?",
    "What does a cardiologist do?",
    "Which planet has the most moons?",
    "How do I get a red wine stain out of a white cotton shirt?",
    "Can dogs see colours?",
    "I have a meeting in the city centre tomorrow morning at nine, and I wonder whether it would be quicker to take "
    "the train or to drive there and look for a place to park.",
    "What is the boiling point of water on top of a high mountain?",
    "When did people first land on the moon?",
    "Tell me a short story about a fisherman and a talking cat.",
    "Do bees sleep at night?",
    "What is the difference between weather and climate?",
    "How long should I boil an egg if I want the middle to stay soft but the white to be firm?",
    "Where do penguins live?",
    "What is a good name for a small brown dog?",
    "If I plant tomatoes on my balcony in the middle of May, when will I be able to pick the first ones, and how often "
    "do I have to water them until then?",
    "Why is the sky blue?",
    "I am planning a walk of four days in the mountains at the end of September, with a tent and a small stove, and I "
    "would like to know how many kilometres a day are sensible for somebody who sits in an office all year.",
    "What can I do when I lie awake at night and keep thinking about work?",
    "Who painted the Mona Lisa?",
    "Could you remind me what I asked you at the beginning?",
    "Is a tomato a fruit or a vegetable?",
    "How does a bicycle stay upright while it is moving, although it falls over as soon as it stands still?",
    "What time is it in New York when it is noon in London?",
    "Can you help me to write a letter to the landlord, because the heating has been broken for two weeks now?",
    "What would happen to the oceans and the tides if the earth had two moons instead of one?",
    "How old is the universe?",
    "Which languages are spoken in Switzerland?",
    "My daughter wants to learn the violin, but we live in a flat with thin walls and the neighbours are already "
    "complaining about the piano, so is there a quieter instrument that a child of eight could start with?",
    "What is the tallest building in the world?",
    "Why do cats purr when somebody strokes them?",
    "How do I say good morning in Spanish?",
    "What is the fastest way to learn twenty new words a day?",
)

BACKCHANNELS = ("Mm-hm.", "Uh-huh.", "Yeah.", "Okay.", "Right.", "Yes.")
"""What a listener says without wanting the word."""
