"""What today's mail says, wanted and unwanted, in our own words: the texts that `bench/training/letters.py` makes mail of.

Each kind has a name, subjects, sentences and what its button says. Words in braces are filled in by chance.
"""

# ruff: noqa: E501  # a sentence stands on one line
from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    name: str
    subjects: str  # one a line
    text: str
    button: str = ""
    personal: bool = False  # written by a person in a mail program, not by a service


WANTED = (
    Kind(
        "receipt",
        "Your receipt from {company}\nReceipt for order #{code}\nThanks for your order, {first}\nOrder confirmation {code}\nPayment received - thank you\nYour {company} order is confirmed",
        "Thank you for your order.\nWe have received your payment of {amount}.\nOrder number: {code}\nOrder date: {date}\n{product} x {n} {amount}\nSubtotal {amount}\nShipping {amount}\nTax {amount}\nTotal {amount}\nPayment method: Visa ending in {last4}\nBilling address\n{first} {last}, {street}, {city}\nYou can return items within 30 days of delivery.\nKeep this receipt for your records.\nIf you have questions about your order, reply to this email or visit our help center.",
        "View your order",
    ),
    Kind(
        "shipping",
        "Your package is on its way\nYour order {code} has shipped\nShipped: {product}\nArriving {weekday}: your {company} order\nDelivered: your package\nOut for delivery today",
        "Good news! Your order has shipped.\nTracking number {code}\nEstimated delivery: {date}\nCarrier: UPS Ground\nShip to: {first} {last}, {street}, {city}\nItems in this shipment\n{product}, quantity {n}\nYour package was delivered to the front door.\nIt may take 24 hours for tracking information to appear.\nThanks for shopping with us.",
        "Track package",
    ),
    Kind(
        "statement",
        "Your {month} statement is ready\nYour account statement is available\nYour credit card statement is ready to view\neStatement notification\nYour bill is ready",
        "Your statement for the account ending in {last4} is now available online.\nStatement balance: {amount}\nMinimum payment due: {amount}\nPayment due date: {date}\nAutopay is on. We will withdraw {amount} on {date}.\nSign in to your account to view the statement.\nYou are receiving this email because you chose paperless statements.\nPlease do not reply to this message. This mailbox is not monitored.\nMember FDIC. Equal Housing Lender.",
        "View statement",
    ),
    Kind(
        "payment",
        "Payment confirmation\nYour payment has been scheduled\nWe received your payment\nYou sent {amount} to {first} {last}\nDirect deposit posted to your account\nAutopay reminder",
        "This confirms that we received your payment of {amount} on {date}.\nConfirmation number: {code}\nAccount ending in {last4}\nYour next payment is due on {date}.\nA deposit of {amount} was posted to your checking account.\nAvailable balance may not reflect pending transactions.\nYou can change your alert preferences at any time in your account settings.",
        "See activity",
    ),
    Kind(
        "renewal",
        "Your subscription will renew on {date}\nYour {company} membership renews soon\nYour plan has been renewed\nUpcoming charge for your subscription",
        "Your annual subscription to {company} renews automatically on {date}.\nYour card ending in {last4} will be charged {amount} plus tax.\nNo action is needed if you want to keep your plan.\nYou can cancel or change your plan any time before that date from your account page.\nThank you for being a member since {year}.",
        "Manage subscription",
    ),
    Kind(
        "password",
        "Reset your password\nPassword reset request\nYour {company} password was changed\nVerify your email address\nConfirm your email",
        "Someone requested a password reset for your account.\nTo choose a new password, use the link below. It expires in one hour.\nIf you did not request this, you can safely ignore this email. Your password will not change.\nPlease confirm that {first} is your email address to finish setting up your account.\nIf the button does not work, copy and paste this address into your browser.",
        "Reset password",
    ),
    Kind(
        "code",
        "{code6} is your verification code\nYour {company} sign-in code\nYour one-time passcode\nNew sign-in to your account\nSecurity alert: new device",
        "Your verification code is {code6}.\nIt expires in 10 minutes. Do not share this code with anyone. We will never ask you for it.\nWe noticed a new sign-in to your account from Chrome on Windows near {city} on {date}.\nIf this was you, you don't need to do anything.\nIf not, secure your account by changing your password.",
    ),
    Kind(
        "welcome",
        "Welcome to {company}\nWelcome, {first}!\nGet started with {company}\nYour account is ready",
        "Welcome! Your account has been created.\nHere are a few things you can do to get started.\nSet up your profile and invite your team.\nDownload the app for iPhone or Android.\nRead our getting started guide and watch a short video.\nQuestions? Our support team is here to help seven days a week.\nYour username is {first}{n}.",
        "Get started",
    ),
    Kind(
        "news",
        "This week in {topic}\n{topic}: what you need to know today\nThe {city} morning briefing\n{month} newsletter\nThe weekend read: {topic}\nIssue {n}: {topic}",
        "Good morning. Here is what you need to know today.\nThe city council voted on Tuesday to delay the vote on the new library until {month}.\nScientists have found that the decline in the number of migrating birds is slower than feared.\nWhat we are reading: an essay on {topic}, and a long interview with its author.\nWeather: partly cloudy with a high near {n}.\nThe quarterly report showed that prices rose at a slower pace.\nOur reporter spent a week with volunteers who restore old boats.\nTell us what you think: reply to this newsletter and we may publish your answer.\nYou received this email because you signed up for our daily newsletter.\nWas this forwarded to you? Sign up here.",
        "Read more",
    ),
    Kind(
        "technews",
        "What's new in version {n}.{n}\n{company} changelog: {month}\nThe {topic} weekly, issue {n}\nProduct updates for {month}\nRelease notes",
        "We have shipped a new editor, faster search, and better keyboard shortcuts.\nThis release fixes a bug in which exported files lost their column widths.\nFrom the blog: how we moved our database without downtime.\nJoin our webinar on {date} to learn how other teams use dashboards.\nDeprecated endpoints will stop working on {date}. Please migrate to the new API.\nArticles and tutorials: a gentle introduction to {topic}; five patterns for testing; notes from the conference.\nJobs: backend engineer, remote; designer, {city}.",
        "Read the release notes",
    ),
    Kind(
        "shop",
        "{n}% off everything this weekend\nNew arrivals for {month}\nJust in: {product}\n{first}, your favorites are on sale\nLast day: free shipping\nMembers get early access\nBack in stock: {product}\nOur biggest sale of the season starts now",
        "Save up to {n}% on selected styles this weekend, in store and online.\nUse code SAVE{n} at checkout.\nFree shipping on orders over {amount}.\nNew arrivals: {product}, jackets, boots, and everything for the garden.\nYou have {code6} reward points. Redeem them before {date}.\nShop women. Shop men. Shop kids. Shop home. Gift cards.\nOffer valid through {date}. Exclusions apply. Cannot be combined with other offers. Prices and availability are subject to change.\nFind a store near you. Download our app.\nFollow us on Instagram, Facebook and Pinterest.",
        "Shop now",
    ),
    Kind(
        "loyalty",
        "You've earned a reward\nYour {month} points summary\nYour birthday treat is here, {first}\nYour miles are about to expire",
        "You have {code6} points. That is enough for a free drink.\nAs a thank-you for being a member, enjoy a birthday treat on us.\nYour points expire on {date}. Use them on your next visit.\nMember number ending in {last4}. Tier: Silver.\nTerms apply. See our app for details of the program.",
        "Redeem",
    ),
    Kind(
        "appointment",
        "Appointment reminder for {date}\nYour appointment is confirmed\nTime to schedule your visit\nYou have a new message from your care team\nYour lab results are available",
        "This is a reminder of your appointment with Dr. {last} on {date} at {n}:30 am.\nPlease arrive 15 minutes early and bring your insurance card and a photo ID.\nIf you need to cancel or reschedule, call us at {phone} at least 24 hours before.\nYour test results have been posted to your patient portal.\nOur office is at {street}, {city}. Parking is free.\nReply C to confirm.",
        "Confirm appointment",
    ),
    Kind(
        "travel",
        "Your trip to {city} is confirmed\nIt's time to check in for your flight\nYour reservation at {company} {city}\nBooking confirmation {code}\nYour itinerary",
        "Your reservation is confirmed. Confirmation code {code}.\nDepart {date} at {n}:15 am. Arrive {city} at {n}:40 pm.\nSeat {n}C. One carry-on bag and one personal item are included.\nCheck-in opens 24 hours before departure.\nHotel check-in is after 3 pm. Free cancellation until {date}.\nTotal charged: {amount}. Taxes and fees are included.\nPassenger: {first} {last}.\nReview baggage rules and bring a valid passport.",
        "Manage booking",
    ),
    Kind(
        "tickets",
        "Your tickets for {weekday}\nYou're going! {topic} in {city}\nEvent reminder: {topic}\nRegistration confirmed: {topic}",
        "You have registered for {topic} on {date} at {n} pm.\nDoors open one hour before. Show the barcode in the app at the entrance.\nSection {n}, row F, seats 7 and 8.\nAdd it to your calendar: Google, Outlook, Apple.\nRefunds are available until seven days before the event.\nThe venue is at {street}, {city}.",
        "View tickets",
    ),
    Kind(
        "survey",
        "How did we do?\nTell us about your recent visit\nReview your recent purchase\nRate your stay\nYour feedback matters",
        "You recently bought {product}. How would you rate it?\nYour answers help us and other customers. The survey takes about two minutes.\nHow likely are you to recommend us to a friend or colleague?\nThank you for visiting our {city} store.\nYour review will be posted with your first name.",
        "Write a review",
    ),
    Kind(
        "social",
        "{first} {last} commented on your post\n{first} sent you a message\nYou have {n} new notifications\n{first} {last} accepted your invitation\nPeople you may know\nYour weekly activity",
        "{first} {last} commented on your post.\nThat is such a great picture! When were you there?\nSee what you missed this week.\n{first} {last} and {n} others reacted to your photo.\nYour profile appeared in {n} searches this week.\nThis email was sent to you because of your notification settings.\nYou can turn these notifications off in your settings.",
        "View comment",
    ),
    Kind(
        "jobs",
        "{n} new jobs for you in {city}\nYour application was received\n{company} is hiring: analyst\nJob alert: engineer",
        "New jobs that match your search in {city}.\nProject coordinator at {company}, full time, posted 2 days ago.\nThank you for applying for the position of analyst. Our team is reviewing your application and will contact you if there is a match.\nNurse manager, night shift, {city} hospital.\nEdit this job alert or see all matching jobs.",
        "See jobs",
    ),
    Kind(
        "bill",
        "Your {company} bill for {month}\nYour electric bill is ready\nUsage update for {month}\nPlanned maintenance in your area\nYour internet service",
        "Your bill for {month} is {amount} and is due on {date}.\nYou used {n} kilowatt hours, which is 4% less than last month.\nAccount number ending in {last4}. Service address: {street}, {city}.\nEnroll in automatic payment or budget billing.\nWe will do maintenance in your area on {date} between midnight and 5 am. Service may be interrupted for a few minutes.\nReport an outage by calling {phone}.",
        "Pay bill",
    ),
    Kind(
        "insurance",
        "Your policy documents are ready\nYour auto policy renews on {date}\nYour claim has been updated\nYour ID cards are available\nTax form 1099 is available",
        "Your renewal documents are available in your online account.\nPolicy number ending in {last4}. Policy period from {date}.\nYour six-month premium is {amount}.\nYour claim {code} has been assigned to {first} {last}. You can reach your adjuster at {phone}.\nYour tax documents for {year} can now be downloaded.\nPlease review your coverage with your agent once a year.",
        "View documents",
    ),
    Kind(
        "school",
        "School newsletter, {month}\nReminder: picture day on {weekday}\nEarly dismissal on {date}\nField trip permission form\nPTA meeting minutes",
        "Dear families,\nPicture day is on {weekday}. Order forms went home in your child's folder.\nThe spring concert starts at 6:30 pm in the gym. All are welcome.\nWe need volunteers for the book fair. Please sign up for a shift.\nSchool is closed on {date} for teacher training.\nThe lunch menu for {month} is attached.\nThank you for your support.\nPrincipal {last}",
        "",
    ),
    Kind(
        "club",
        "Minutes of the {month} meeting\nSunday service and announcements\nVolunteer schedule\nGarden club: spring plant sale\nBook club: next meeting at {first}'s",
        "Hello everyone,\nOur next meeting is on {date} at 7 pm at the community hall, {street}.\nAgenda: approval of the minutes, treasurer's report, new roof.\nPlease bring a dish to share.\nThe choir rehearses on {weekday}. New voices are always welcome.\nWe collected {amount} for the food bank. Thank you all.\nPlease let {first} know whether you can help set up the tables.",
        "",
    ),
    Kind(
        "charity",
        "Thank you for your gift\nYour donation receipt\nSee what you made possible this year\nMatch ends tonight: double your gift\nFrom the executive director",
        "Thank you for your donation of {amount} on {date}.\nNo goods or services were provided in exchange for this gift. Our tax ID is {code}.\nBecause of supporters like you, we planted {n} thousand trees this year.\nMembers keep our trails open. Renew your membership by {date}.\nWe are a nonprofit organization. Your contribution is tax deductible to the extent allowed by law.",
        "Donate",
    ),
    Kind(
        "forum",
        "[{company}/{topic}] Fix the build on {weekday} (#{n})\nRe: [{company}/{topic}] Crash when the file is empty (Issue #{n})\nYour build passed\nNew reply to: {topic} question\nDigest: {n} new topics",
        "{first} left a comment.\nI can reproduce this on the main branch. The cause seems to be that the cache is not cleared when the file is empty.\nMerged into main. Closes #{n}.\nYou are receiving this because you were mentioned.\nView it on the web or unsubscribe from this thread.\nAll checks have passed.\nThe job failed at step test with exit code 1.",
        "",
    ),
    Kind(
        "share",
        "{first} {last} shared a document with you\nInvitation: {topic} @ {date}\nAccepted: {topic} @ {date}\nReminder: please sign the lease\nComment on budget draft",
        "{first} {last} has invited you to edit the following document: {topic} plan.\nYou have been invited to the following event. When: {date} 10am to 11am. Where: {street}. Organizer: {first} {last}. Going? Yes, maybe, no.\n{first} {last} sent you a document to review and sign.\nAll parties have completed the document.\nJoin the video meeting from your browser. Meeting ID: {code6}.",
        "Open",
    ),
    Kind(
        "family",
        "Saturday\nphotos from the weekend\nRe: dinner on {weekday}?\nRe: mom's birthday\nFwd: recipe\nquick question",
        "Hi {first},\nthanks for the pictures, they are lovely. The kids laughed about the one with the dog.\nAre we still on for dinner on {weekday}? I can bring a salad.\nDad's knee is getting better, he walked around the block yesterday.\nCan you pick up the keys from {first} on your way?\nI looked at the flights to {city}, the one in the morning is cheaper.\nLet me know what you think.\nLove,\n{first}",
        "",
        personal=True,
    ),
    Kind(
        "work",
        "Re: meeting on {weekday}\nRe: contract draft\nInvoice {code} for {month}\nAgenda for {date}\nRe: quote for {product}\nFW: site visit\nMinutes and next steps",
        "Hi {first},\nthanks for the call this morning. I have attached the revised draft with the changes we discussed in section {n}.\nCould you look at the numbers on page {n} before {weekday}?\nPlease find attached our invoice for {month}. Payment terms are 30 days, as agreed.\nThe supplier can deliver {n} units by {date} at {amount} each.\nI am out of the office on {weekday}; {first} will cover for me.\nCan we move the meeting to {n}:30? The room is taken.\nBest regards,\n{first} {last}\nProject manager, {company}\n{phone}",
        "",
        personal=True,
    ),
    Kind(
        "sale",
        "Re: listing for the {product}\nYour inquiry\nRe: your message about the apartment\nQuote you asked for",
        "Hello {first},\nyes, the {product} is still available. You can come and see it on {weekday} after {n}.\nThank you for your inquiry. The price including installation is {amount}, and the work takes two days.\nThe apartment at {street} is free from {date}; rent is {amount} with heating.\nWould {weekday} suit you for a visit?\nKind regards\n{first} {last}\n{phone}",
        "",
        personal=True,
    ),
)

UNWANTED = (
    Kind(
        "advance",
        "Dear friend\nURGENT BUSINESS PROPOSAL\nYour inheritance fund\nConfidential\nFrom the desk of Mrs {last}\nPayment notification\nI need your assistance",
        "Dear friend,\nI am Barrister {first} {last}, attorney to a late client who died in an accident with his entire family and left {millions} with a bank here.\nI seek your consent to present you as the next of kin, so that the fund can be transferred into your account.\nYou will have 40% of the total sum, 60% will be for me. This transaction is 100% risk free and must remain confidential.\nSend me your full name, address, telephone number, age and occupation so that I can give you more details.\nI am a widow suffering from cancer and have decided to donate {millions} to the less privileged through you.\nReply to my private email for further details. God bless you.",
        "",
    ),
    Kind(
        "lottery",
        "CONGRATULATIONS YOU WON\nAward notification ref {code}\nYour email has won\nCompensation payment of {millions}",
        "We are pleased to inform you that your email address won the sum of {millions} in our annual draw.\nYour ATM card worth {millions} has been approved by the United Nations compensation committee.\nTo claim your prize contact our agent with your name, country, phone and a copy of your ID.\nYou must pay only the delivery charge of {amount} to the courier company.\nWinning number {code}. Keep this confidential until your claim is processed.",
        "",
    ),
    Kind(
        "parcel",
        "Your package could not be delivered\nDelivery failed: action required\nYour parcel is waiting - confirm your address\nFinal notice: package {code} on hold\nShipment pending, customs fee unpaid",
        "We tried to deliver your package but the address was incomplete.\nYour parcel {code} is on hold at our depot because of an unpaid shipping fee of {amount}.\nConfirm your delivery and pay the fee within 24 hours, or the package will be returned to the sender.\nSchedule your delivery and subscribe to notifications to avoid this happening again.\nStatus: stopped at the distribution hub.",
        "Confirm delivery",
    ),
    Kind(
        "account",
        "Your account has been limited\nAction required: verify your account\nUnusual activity on your account\nYour account will be suspended\nImportant security notice\nUpdate your billing information\nYour payment was declined",
        "Dear customer,\nWe have detected unusual activity on your account and it has been temporarily limited.\nYou must verify your information within 24 hours or your account will be permanently suspended.\nClick the link below to confirm your identity, your password and your card details.\nWe were unable to process your last payment. Please update your billing information to avoid interruption of service.\nFailure to do so will result in termination of your account.\nThank you for your cooperation. Security department.",
        "Verify now",
    ),
    Kind(
        "mailbox",
        "Mailbox storage full\nPassword expires today for {to}\nYou have {n} undelivered messages\nEmail deactivation notice\n{n} messages quarantined\nServer upgrade: validate your mailbox",
        "Dear {to},\nYour mailbox has exceeded its storage limit and {n} incoming messages are pending.\nYour password for {to} expires today. Use the button below to keep the same password.\nFailure to validate your mailbox will lead to the loss of incoming mail.\nThe IT help desk is upgrading all webmail accounts to the new server. Sign in to continue.\nRelease pending messages now.",
        "Keep same password",
    ),
    Kind(
        "document",
        "New voicemail from {phone}\nPayment advice {code}\nPO {code} - please confirm\nScanned document from copier\nEFT remittance for {company}\nRevised invoice attached\nRFQ {code}",
        "Good day,\nKindly find attached the purchase order and confirm the prices and delivery time urgently.\nPlease see the attached payment advice for your reference. The payment was made on behalf of our customer.\nYou have received a new secure document. Sign in with your email and password to view it.\nYou have a missed voice message, duration 00:{n}. Play the message.\nPlease open the attachment to view the invoice. The file is password protected.\nAwaiting your urgent reply.",
        "View document",
    ),
    Kind(
        "extortion",
        "I know your password\nYour device was hacked\nPayment from your account\nYou have been recorded\nWaiting for the payment",
        "I have full access to your device. Some months ago I infected it with my malware when you visited an adult website.\nI recorded you through your camera while you were satisfying yourself.\nI will send the video to all of your contacts unless you transfer {amount} in bitcoin to my wallet.\nMy bitcoin wallet: {coin}\nYou have 48 hours after opening this letter. I know that you have read it.\nDo not try to contact me or the police. Do not reply to this email.",
        "",
    ),
    Kind(
        "pharmacy",
        "Cheap meds online\nNo prescription needed\nLast longer tonight\nRestore your strength\nMen over 40 use this trick\nDiscount pharmacy {n}% off",
        "Buy generic pills online with no prescription. Lowest prices, worldwide discreet shipping.\nOne simple trick makes you hard and ready in minutes, even if you are over 60.\nDoctors are stunned by this all-natural formula.\n100% satisfaction guaranteed or your money back.\nOrder now while supplies last.",
        "Order now",
    ),
    Kind(
        "health",
        "Melt belly fat overnight\nDo this before bed to lose {n} lbs\nThis kitchen spice reverses diabetes\nBig Pharma hates this\nThe 7-second ritual for tinnitus\nDoctors speechless: new joint pain discovery\nNail fungus? Do this tonight",
        "A strange 7-second morning ritual burns fat while you sleep.\nThis one weird trick from a remote tribe has helped over {code6} people lose weight without diet or exercise.\nWatch this shocking video before it is taken down.\nThe medical industry does not want you to know about it.\nScientists discovered the real root cause of your pain, and it has nothing to do with age.\nClick here to see the weird discovery.",
        "Watch the video",
    ),
    Kind(
        "crypto",
        "Your Bitcoin payout is ready\nTurn {amount} into {millions}\nAccount credited with {n}.{n} BTC\nThis new coin could explode\nFinal notice: your mining balance",
        "Your balance of {n}.{n} BTC is waiting. You have 24 hours to withdraw it or it will be deleted.\nOur automatic trading robot makes members {amount} every day. No experience needed.\nInvest in cryptocurrency with a guaranteed profit of 300% in seven days.\nConnect your wallet and confirm your recovery phrase to receive the airdrop.\nThis is the secret that the banks try to hide.",
        "Withdraw now",
    ),
    Kind(
        "reward",
        "Congratulations! You have been selected\nYou have won a {product}\nYour {company} gift card is waiting\n2nd attempt for {to}\nClaim your reward: confirmation needed\nYour loyalty reward expires today\nWe have been trying to reach you",
        "Congratulations! You have been chosen to receive a brand new {product}.\nAnswer a short survey about your experience and select your exclusive reward worth {amount}.\nYour {amount} gift card is waiting for you. Confirm now, only {n} left.\nThis is your final notification. Your reward expires in 15 minutes.\nWe have been trying to reach you about your unclaimed reward.\nIf you no longer wish to receive these advertisements, write to the address below.",
        "Claim now",
    ),
    Kind(
        "dating",
        "I saw your profile\nLonely {first} wants to meet you\n{n} hot singles near you\nhi handsome\nprivate photos inside\nRussian girls looking for husband",
        "Hi handsome, I saw your profile and I want to get to know you better.\nI am {first}, {n} years old, single and looking for a serious man.\nSexy women in your area want to meet tonight. No strings attached.\nSee my private photos and write to me there.\nMature ladies are online now. Join free.",
        "Meet her now",
    ),
    Kind(
        "loan",
        "Business funding approved\nYou are pre-approved for {amount}\nLoan offer at 2%\nGet cash today, bad credit OK\nErase your debt\nStudent loan forgiveness",
        "You have been pre-approved for a business loan of up to {amount}. No collateral, bad credit is no problem.\nWe offer loans at 2% interest rate to individuals and companies. Apply now with your name, amount needed and phone.\nGet cash as soon as tomorrow.\nYou may qualify to have your debt erased by this new program.\nDo you need urgent financial assistance? Contact us today.",
        "Get funded",
    ),
    Kind(
        "leads",
        "Rank your website on page 1\nWebsite redesign proposal\nMobile app development\nEmail list of {company} users\nQuick question about your website\nGuest post on your site",
        "Hi,\nI was on your website and found several errors that keep it from ranking on the first page of Google.\nWe are an India based SEO company with affordable packages. Shall I send you a quote and a free audit report?\nWe can provide a verified email list of decision makers in your industry.\nWe do website design, app development and digital marketing at low cost.\nWould you be interested in a sponsored guest post with a dofollow link?\nPlease share your phone number and the best time to call.",
        "",
    ),
    Kind(
        "home",
        "Homeowners: new roof program\nYour home warranty is about to expire\nNever clean your gutters again\nGo solar for $0 down\nWalk-in tub discount\nBathroom remodel in one day\nNew windows {n}% off",
        "Homeowners in your area qualify for a new program that pays for a roof replacement.\nYour home warranty may have expired. Never pay for covered repairs again.\nGet a free quote from local contractors in 60 seconds.\nSenior discount for walk-in tubs ends this month.\nSee if you qualify: enter your zip code.\nThis is an advertisement. To stop receiving these, unsubscribe here or write to the address below.",
        "See if you qualify",
    ),
    Kind(
        "insure",
        "Auto insurance for $19 a month\nDrivers in your state are furious\nBurial insurance for seniors\nMedicare plans with $0 premium\nLife insurance {amount} no exam",
        "Drivers with no tickets pay as little as {amount} per month. Your insurance company does not want you to know about this rule.\nSeniors born between 1941 and 1976 qualify for {amount} of life insurance with no medical exam.\nCompare rates now and save {n}%.\nNew Medicare benefits are available in your zip code. Agents are standing by.",
        "Compare now",
    ),
    Kind(
        "scam invoice",
        "Your order {code} is processed\nThank you for renewing antivirus\nInvoice {code}: {amount} charged\nSubscription renewed successfully",
        "Thank you for your purchase. {amount} has been charged to your account for antivirus protection, 3 years.\nIf you did not authorize this transaction, call our billing department immediately at {phone}.\nThe amount will be deducted within 24 hours. To cancel and get a full refund call toll free {phone}.\nProduct: total protection, 5 devices. Payment mode: auto debit.\nGeek billing support team.",
        "",
    ),
    Kind(
        "job",
        "Work from home, {amount} per week\nPart-time assistant needed\nMystery shopper job\nYou are hired\nMake money online today",
        "Earn {amount} per week working from home two hours a day. No experience required.\nWe are looking for a personal assistant who can receive payments and buy gift cards on our behalf.\nYou will be paid by check; deposit it and keep your share.\nText your name and phone number to start today. Limited positions.",
        "Apply now",
    ),
    Kind(
        "boss",
        "Quick task\nAre you available?\nUrgent request\nRe: payment today\nAre you at your desk?",
        "Are you available? I need you to do something for me right away, I am in a meeting and cannot talk.\nI need you to buy five gift cards of {amount} each for clients. Scratch the back and send me pictures of the codes.\nKeep this between us, it is a surprise. I will reimburse you today.\nSend me your cell phone number.\nI want to change my direct deposit before the next payroll. What do you need from me?\nCan you process a wire transfer today? Let me know and I will send the beneficiary details.\nSent from my iPhone",
        "",
        personal=True,
    ),
    Kind(
        "casino",
        "{n} free spins waiting\nWelcome bonus {amount}\nYour casino jackpot\nBet now",
        "Get {n} free spins and a welcome bonus of {amount} at our online casino. No deposit required.\nPlay slots, roulette and blackjack and win real money today.\nPlayer {first} just won {millions}. You could be next.\nInstant withdrawal. Join now.",
        "Play now",
    ),
    Kind(
        "gadget",
        "This {product} is selling out fast\nNew gadget everyone is talking about\n{n}% off today only: {product}\nThe knife chefs are obsessed with\nHeat any room for pennies\nStop mosquitoes instantly",
        "This brilliant new gadget is taking the country by storm, and it is almost sold out.\nInvented by two engineers, it does what big companies charge hundreds for.\nGet yours now with a {n}% discount, today only, while supplies last.\nTen reasons why everyone needs this {product}.\nPeople are ordering two or three at a time. Hurry.",
        "Check availability",
    ),
    Kind(
        "product",
        "Manufacturer of {product} in China\nCooperation inquiry\nHigh quality {product} supplier\nLED lights factory price",
        "Dear sir or madam,\nThis is {first} from a professional manufacturer of {product} in Shenzhen, China, with {n} years of experience.\nWe can offer competitive price, good quality and fast delivery. OEM is welcome.\nPlease let me know if you are interested and I will send our catalogue and price list.\nFree samples are available. Looking forward to your early reply.",
        "",
    ),
    Kind(
        "politics",
        "They are coming for your guns\nShocking: what they hide from you\nThe end of the dollar\nPatriots: claim your free {product}\nA warning for every American over 50",
        "What they don't want you to know will shock you.\nA former insider reveals the date on which the dollar will collapse and the one step every American must take now.\nClaim your free commemorative {product}. Just pay shipping. Supplies are limited.\nWatch this banned video while you still can.\nMove your retirement savings into gold before it is too late. Get the free guide.",
        "Get the free guide",
    ),
)
