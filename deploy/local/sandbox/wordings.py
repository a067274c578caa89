"""What people and machines say, by behaviour and language; texts only, and nobody's real words."""

from deploy.local.sandbox.recipients import Behaviour

REPLIES = {
    Behaviour.INTERESTED: (
        "Hi,\n\nthanks for reaching out. This sounds interesting, could you tell me more?\n\nBest,\n{name}",
        "Yes, I'm interested. Can we have a call next Tuesday?\n\n{name}",
        "Hello,\n\nsounds great, please send me more information and your pricing.\n\nKind regards\n{name}",
        "Good timing - we are looking at exactly this. I'd love to learn more.\n\nCheers, {name}",
    ),
    Behaviour.MEETING: (
        "Hi,\n\nhappy to talk. How about Thursday at 10:30?\n\nBest,\n{name}",
        "Sure, let's meet on Tuesday at 2 pm, my office or yours.\n\n{name}",
        "Hello,\n\ncould we have a quick call tomorrow at 9:15? I am at my desk until noon.\n\nRegards\n{name}",
        "Wednesday at 4 pm works for a short demo. Please send an invite.\n\nCheers, {name}",
    ),
    Behaviour.QUESTION: (
        "Hi,\n\nwhat does it cost for a team of ten?\n\n{name}",
        "Does it work with Postgres, or only with your own database?\n\nRegards,\n{name}",
        "Hello,\n\nwhere did you get my address?\n\n{name}",
    ),
    Behaviour.NOT_INTERESTED: (
        "Hi,\n\nthank you, but we are not interested.\n\n{name}",
        "No thanks, we already have a solution for this.\n\nRegards,\n{name}",
        "Thanks for the note. I'm not interested at this time.\n\n{name}",
    ),
    Behaviour.UNSUBSCRIBE: (
        "Please remove me from your list.\n\n{name}",
        "Please remove me and do not contact me again.",
        "Unsubscribe me please. I never asked for this.\n\n{name}",
    ),
    Behaviour.COLLEAGUE: (
        "Hi,\n\n{name} showed me your note, and I look after this here. Please send me more information.\n\nRobin",
        "Hello,\n\nthis landed on my desk. I'm interested, could you tell me more?\n\nRobin",
    ),
    Behaviour.ALIAS: (
        "Hi,\n\nthis is my private account. Sounds interesting, please tell me more.\n\n{name}",
        "Yes, I'm interested. Please send me more information.\n\n{name}",
    ),
}
ABROAD = {
    (Behaviour.INTERESTED, "de"): (
        "Guten Tag,\n\ndas klingt interessant. Bitte schicken Sie mir mehr Informationen.\n\nFreundliche Grüße\n{name}",
        "Hallo,\n\nsehr gerne, wir haben Interesse. Schicken Sie mir bitte Unterlagen.\n\nViele Grüße\n{name}",
    ),
    (Behaviour.INTERESTED, "fr"): (
        "Bonjour,\n\ncela m'intéresse. Pourriez-vous m'envoyer plus d'informations ?\n\nCordialement,\n{name}",
        "Bonjour,\n\nc'est intéressant, je voudrais en savoir plus.\n\nBien à vous,\n{name}",
    ),
    (Behaviour.INTERESTED, "ja"): (
        "お世話になっております。\n\n興味があります。詳しい資料をお送りいただけますか。\n\nよろしくお願いいたします。\n{name}",
        "ご連絡ありがとうございます。\n\nぜひ詳しくお聞かせください。\n{name}",
    ),
    (Behaviour.NOT_INTERESTED, "de"): (
        "Guten Tag,\n\nvielen Dank, aber wir haben kein Interesse.\n\n{name}",
        "Nein danke, wir sind bereits gut versorgt.\n\nFreundliche Grüße\n{name}",
    ),
    (Behaviour.NOT_INTERESTED, "fr"): (
        "Bonjour,\n\nmerci, mais nous ne sommes pas intéressés.\n\n{name}",
        "Non merci, nous avons déjà une solution.\n\nCordialement,\n{name}",
    ),
    (Behaviour.NOT_INTERESTED, "ja"): (
        "ご連絡ありがとうございます。\n\n申し訳ございませんが、今回は見送らせていただきます。\n{name}",
        "恐れ入りますが、弊社では必要ありません。\n{name}",
    ),
    (Behaviour.UNSUBSCRIBE, "de"): (
        "Bitte streichen Sie mich von Ihrer Liste.\n\n{name}",
        "Bitte löschen Sie meine Daten und schreiben Sie mir nicht mehr.\n\n{name}",
    ),
    (Behaviour.UNSUBSCRIBE, "fr"): (
        "Désinscrivez-moi de votre liste, merci.\n\n{name}",
        "Merci de me retirer de votre liste de diffusion.\n\n{name}",
    ),
    (Behaviour.UNSUBSCRIBE, "ja"): (
        "配信を停止してください。\n\n{name}",
        "今後のメールは不要です。配信停止をお願いします。",
    ),
}
OUT_OF_OFFICE = (
    "Hello,\n\nI am out of the office until {date} with no access to e-mail. I will answer when I am back.\n\n{name}",
    "Thank you for your message. I am currently on vacation and will return on {date}.\n\nBest regards\n{name}",
    "Hi, I'm on annual leave and back on {date}. For urgent matters please call the front desk.\n\n{name}",
)
MACHINE_THANKS = (
    "Thank you for your message. This is an automated response: we have received your e-mail.\n\n{name}'s team",
    "Hello,\n\nyour request has been received and will be answered within two working days.\n\nThe front desk",
)
LEFT_COMPANY = (
    "Thank you for your message. {name} no longer works at our company. Please contact the front desk instead.",
    "Hello,\n\n{name} has left the company and this mailbox is no longer read.\n\nThe front desk",
)


def wordings_of(behaviour: Behaviour, language: str) -> tuple[str, ...]:
    """What people of that behaviour say in the language; in English where nothing is known."""
    return ABROAD.get((behaviour, language)) or REPLIES[behaviour]
